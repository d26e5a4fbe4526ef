"""Commands from node to node, on the control port of a node agent.

A line of text is a command, a line of text its answer (docs/wire.md, "The control
port"). The other end proves by its certificate that it is the node at that address.
"""

import ipaddress

from twisted.internet import protocol, reactor
from twisted.internet.interfaces import IHandshakeListener
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python import failure
from zope.interface import implementer

from thor.scheduler import in_reactor

__all__ = 'ControlLink', 'LinkError', 'Notification', 'Request', 'Response'

log = Logger('thor')

MAX_COMMAND = 1024         # bytes, as the agent takes them
MAX_ANSWER = 4 << 20
MAX_WAITING = 10000        # commands of one link
ANSWER_WITHIN = 5          # seconds
IDLE_FOR = 60              # seconds that a link without commands stays open
TRIES = 2                  # of a command whose connection ended before it was answered


class LinkError(Exception):
    """A command was not answered."""


class Request(str):
    """A command that is answered: deferred, if the program sets it, gets the Response."""

    deferred = None


class Notification(Request):
    """A command whose sender does not wait. A refusal is logged."""


class Response:
    """The answer to a command: a code, 200 for what was done, and what there is to tell."""

    def __init__(self, code, data=''):
        self.code = code
        self.data = data

    def __repr__(self):
        return 'Response(%r, %r)' % (self.code, self.data)


class _Waiting:
    def __init__(self, request):
        self.request = request
        self.tries = 0
        self.timer = None

    def done(self, result):
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        deferred, self.request.deferred = self.request.deferred, None
        bad = isinstance(result, failure.Failure) or result.code != 200
        if deferred is not None:
            deferred.callback(result)
        elif bad:
            why = result.getErrorMessage() if isinstance(result, failure.Failure) else '%d %s' % (result.code, result.data)
            log.error('{command}: {why}', command=str(self.request), why=why)


@implementer(IHandshakeListener)
class _Protocol(LineOnlyReceiver):
    delimiter = b'\n'
    MAX_LENGTH = MAX_ANSWER

    def __init__(self, link):
        self.link = link

    def connectionMade(self):
        self.transport.setTcpNoDelay(True)
        self.link.protocol = self
        if self.transport.getPeerCertificate() is not None:  # gnutls: the handshake is over
            self.link.made()

    def handshakeCompleted(self):
        self.link.made()

    def lineReceived(self, line):
        self.link.answered(line.rstrip(b'\r').decode('utf-8', 'replace'))

    def lineLengthExceeded(self, line):
        self.transport.abortConnection()

    def connectionLost(self, reason=protocol.connectionDone):
        self.link.lost(reason)


class _Factory(protocol.ClientFactory):
    noisy = False

    def __init__(self, link):
        self.link = link

    def buildProtocol(self, addr):
        return _Protocol(self.link)

    def clientConnectionFailed(self, connector, reason):
        self.link.lost(reason)


class _Link:
    """The connection to one control port, while there is something to send."""

    def __init__(self, owner, address):
        self.owner = owner
        self.address = address
        self.waiting = {}
        self.last = 0            # number of a command
        self.connector = None
        self.protocol = None
        self.proved = False      # the other end is the node at the address
        self.idle = None

    def send(self, request):
        one = _Waiting(request)
        if len(self.waiting) >= MAX_WAITING:
            one.done(failure.Failure(LinkError('too many commands wait for %s:%d' % self.address)))
            return
        self.last = number = self.last + 1
        self.waiting[number] = one
        one.timer = reactor.callLater(ANSWER_WITHIN, self.late, number)
        if self.idle is not None and self.idle.active():
            self.idle.cancel()
        if self.proved:
            self.write(number)
        elif self.connector is None:
            self.connect()

    def connect(self):
        host, port = self.address
        self.connector = self.owner.dial(host, port, _Factory(self))

    def made(self):
        """The handshake is over. Commands go to the node that was meant, or to none."""
        try:
            check_address(self.protocol.transport.getPeerCertificate(), self.address[0])
        except LinkError as e:
            self.end(e)
            return
        self.proved = True
        for number in list(self.waiting):
            self.write(number)

    def write(self, number):
        one = self.waiting[number]
        one.tries += 1
        self.protocol.transport.write(b'%d %b\r\n' % (number, one.request.encode('utf-8')))

    def answered(self, line):
        number, _, rest = line.partition(' ')
        code, _, data = rest.partition(' ')
        if not number.isdecimal() or not 0 < int(number) <= self.last or not code.isdecimal():
            self.end(LinkError('%s:%d does not speak as control ports do: %.200r' % (*self.address, line)))
            return
        one = self.waiting.pop(int(number), None)
        if one is not None:      # else it comes too late
            one.done(Response(int(code), data))
            self.rest()

    def rest(self):
        """End the link after a while in which there is nothing to send."""
        if not self.waiting and (self.idle is None or not self.idle.active()):
            self.idle = reactor.callLater(IDLE_FOR, self.disconnect)

    def late(self, number):
        self.waiting.pop(number).done(failure.Failure(LinkError('%s:%d did not answer within %d s' % (*self.address, ANSWER_WITHIN))))
        self.rest()

    def lost(self, reason):
        self.connector = self.protocol = None
        self.proved = False
        # The agent closes connections that wait: that a command met the end of one is
        # no failure yet.
        if self.waiting and reason.check(LinkError) is None and all(one.tries < TRIES for one in self.waiting.values()) and any(one.tries for one in self.waiting.values()):
            self.connect()
            return
        self.end(reason.value)

    def end(self, error):
        """Nothing that waits is answered any more."""
        waiting, self.waiting = self.waiting, {}
        self.disconnect()
        for one in waiting.values():
            one.done(failure.Failure(LinkError('%s:%d: %s' % (*self.address, error))))

    def disconnect(self):
        self.owner.forget(self)
        if self.idle is not None and self.idle.active():
            self.idle.cancel()
        if self.protocol is not None:
            self.protocol.transport.abortConnection()
        elif self.connector is not None:
            self.connector.disconnect()


class ControlLink:
    """Connections to the control ports of nodes, by their addresses."""

    def __init__(self, tls_context):
        self.tls_context = tls_context
        self._links = {}

    def send_request(self, request, address):
        """Send a command to (address, port). It may be called in any thread.

        request.deferred, if it is set, is called with a Response, or a LinkError.
        """
        if not isinstance(request, Request):
            raise TypeError('a command is a Request or a Notification')
        if len(request.encode('utf-8')) > MAX_COMMAND or '\n' in request or '\r' in request:
            raise ValueError('a command is one line of at most %d bytes' % MAX_COMMAND)
        host, port = address
        in_reactor(self._send, request, (str(host), int(port)))

    def _send(self, request, address):
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = _Link(self, address)
        link.send(request)

    def dial(self, host, port, factory):
        if type(self.tls_context).__module__.startswith('gnutls'):
            return reactor.connectTLS(host, port, factory, self.tls_context)
        return reactor.connectSSL(host, port, factory, self.tls_context, timeout=ANSWER_WITHIN)

    def forget(self, link):
        if self._links.get(link.address) is link:
            del self._links[link.address]

    def discard_link(self, node):
        """End the connections to a node: its address as bytes or text, or (address, port)."""
        if isinstance(node, tuple):
            node = node[0]
        host = node.decode() if isinstance(node, bytes) else str(node)
        in_reactor(self._discard, lambda address: address[0] == host)

    def disconnect_all(self):
        """End all connections."""
        in_reactor(self._discard, lambda address: True)

    def _discard(self, meant):
        for address, link in list(self._links.items()):
            if meant(address):
                link.end(LinkError('the link was discarded'))


def check_address(certificate, address):
    """LinkError unless the certificate is that of the node at address.

    Its chain was verified by TLS. A member of the network could otherwise answer in the
    place of another one.
    """
    from cryptography import x509
    try:
        if hasattr(certificate, 'to_cryptography'):
            parsed = certificate.to_cryptography()
        else:
            parsed = x509.load_pem_x509_certificate(certificate.export())
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = names.get_values_for_type(x509.IPAddress)
    except (AttributeError, TypeError, ValueError, x509.ExtensionNotFound) as e:
        raise LinkError('the certificate at %s cannot be read: %s' % (address, e)) from None
    if ipaddress.ip_address(address) not in addresses:
        raise LinkError('the certificate at %s is for %s' % (address, ', '.join(map(str, addresses)) or 'no address'))
