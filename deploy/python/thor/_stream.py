"""A request to the node agent on its Unix socket whose answer is lines of JSON.

HTTP/1.1, with a body of chunks in both directions that stays open (docs/wire.md,
"Programs that join"). Nothing here decides anything.
"""

import json

from twisted.internet import protocol
from twisted.logger import Logger

log = Logger('thor')

MAX_LINE = 32 << 20  # a role with 100,000 members
MAX_HEAD = 16 << 10


class Malformed(Exception):
    """The other side does not speak HTTP/1.1 with lines of JSON."""


class Answer:
    """Takes the bytes of an answer apart: its status, then its lines."""

    def __init__(self):
        self.status = None
        self.ended = False
        self._data = b''
        self._line = []       # pieces of the line that is not whole yet
        self._length = 0
        self._chunked = False
        self._left = None     # bytes of this chunk, or of the body; None: not known yet
        self._trailing = False

    def feed(self, data):
        """Yield the lines that are whole with data, each as what its JSON says."""
        self._data += data
        if self.status is None and not self._head():
            return
        while self._data and not self.ended:
            if self._left is None:
                if not self._chunk_head():
                    return
                continue
            part, self._data = self._data[:self._left], self._data[self._left:]
            self._left -= len(part)
            yield from self._lines(part)
            if self._left == 0:
                self._left = None
                if self._chunked:
                    self._trailing = True
                else:
                    self.ended = True
        if self.ended and self._line:
            yield self._whole()

    def _head(self):
        head, end, rest = self._data.partition(b'\r\n\r\n')
        if not end:
            if len(head) > MAX_HEAD:
                raise Malformed('the head of the answer is too long')
            return False
        lines = head.split(b'\r\n')
        try:
            version, status = lines[0].split(b' ')[:2]
            if not version.startswith(b'HTTP/1.'):
                raise ValueError
            headers = dict(line.lower().split(b':', 1) for line in lines[1:])
            self._chunked = headers.get(b'transfer-encoding', b'').strip() == b'chunked'
            if not self._chunked:
                self._left = int(headers.get(b'content-length', b'0'))
                self.ended = self._left == 0
            self.status = int(status)
        except ValueError:
            raise Malformed('the answer is not HTTP/1.1') from None
        self._data = rest
        return True

    def _chunk_head(self):
        if self._trailing:
            if len(self._data) < 2:
                return False
            self._data, self._trailing = self._data[2:], False
        size, end, rest = self._data.partition(b'\r\n')
        if not end:
            if len(size) > 64:
                raise Malformed('the answer is not in chunks')
            return False
        try:
            self._left = int(size.partition(b';')[0], 16)
        except ValueError:
            raise Malformed('the answer is not in chunks') from None
        self._data = rest
        if self._left == 0:
            self.ended = True
        return True

    def _lines(self, part):
        *whole, rest = part.split(b'\n')
        for line in whole:
            self._line.append(line)
            if (said := self._whole()) is not None:
                yield said
        if rest:
            self._line.append(rest)
            self._length += len(rest)
            if self._length > MAX_LINE:
                raise Malformed('a line is too long')

    def _whole(self):
        line, self._line, self._length = b''.join(self._line), [], 0
        if not line.strip():
            return None
        try:
            said = json.loads(line)
        except ValueError:
            raise Malformed('a line is not JSON') from None
        if not isinstance(said, dict):
            raise Malformed('a line is not a JSON object')
        return said


class Stream(protocol.Protocol):
    """One request. Its maker sets method, path and, for a body, hello."""

    method = 'GET'
    path = '/members'
    hello = None     # the first line of the body; None: the request has no body

    def __init__(self):
        self.answer = Answer()

    def connectionMade(self):
        head = '%s %s HTTP/1.1\r\nHost: node\r\n' % (self.method, self.path)
        if self.hello is not None:
            head += 'Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n'
        self.transport.write(head.encode('ascii') + b'\r\n')
        if self.hello is not None:
            self.say(self.hello)

    def say(self, line):
        """Send a line of the body."""
        data = json.dumps(line).encode() + b'\n'
        self.transport.write(b'%x\r\n%b\r\n' % (len(data), data))

    def dataReceived(self, data):
        try:
            for said in self.answer.feed(data):
                if self.answer.status == 200:
                    self.heard(said)
                else:
                    self.refused(self.answer.status, str(said.get('error', 'no reason given')))
        except Malformed as e:
            log.error('node agent: {error}', error=str(e))
            self.transport.loseConnection()
            return
        if self.answer.ended:
            self.transport.loseConnection()

    def heard(self, said):
        """A line of the answer."""

    def refused(self, status, why):
        """The request is refused: one line says why."""
