"""Connections to the node agent: who makes them again, and how long it waits."""

import json
import random

from twisted.internet import defer, protocol, reactor
from twisted.logger import Logger
from twisted.python import failure

from thor._stream import Stream
from thor.link import Request

log = Logger('thor')

FIRST_WAIT, LONGEST_WAIT = 0.1, 5   # seconds before a connection is made again
REFUSED_WAIT = 30                   # after a refusal that only a change of configuration ends
TAKEN_WAIT = 1                      # while another program is in the role
LEAVE_WITHIN = 2                    # seconds that the end of a presence is waited for
MAX_DATA = 15 << 10                 # bytes of an answer to a command, as JSON


class Unsubscribe:
    """A request that is done when its deferred is called."""

    def __init__(self):
        self.deferred = defer.Deferred()


class Refusal(Exception):
    """What the agent says instead of an answer."""


class _Client(Stream):
    """The connection of a connector."""

    def __init__(self, connector):
        super().__init__()
        self.connector = connector

    def connectionMade(self):
        self.connector.made(self)
        super().connectionMade()

    def unsubscribe(self, *topics):
        request = Unsubscribe()
        self.connector.unsubscribe(topics, request.deferred)
        return request

    def heard(self, said):
        self.connector.heard(said)

    def refused(self, status, why):
        self.connector.refused(status, why)

    def connectionLost(self, reason=protocol.connectionDone):
        self.connector.lost(reason)


class _Factory(protocol.ClientFactory):
    noisy = False

    def __init__(self, connector):
        self.connector = connector

    def buildProtocol(self, addr):
        return self.connector.protocol()

    def clientConnectionFailed(self, connector, reason):
        self.connector.unreachable(reason)


class Connector:
    """A connection that is made again until disconnect is called."""

    role = None

    def __init__(self, client, path):
        self.client = client
        self.path = path
        self.failed = False      # refused, by something that will not change by itself
        self.transport = None    # of the connection there is
        self.wanted = True
        self._connecting = None
        self._timer = None
        self._wait = FIRST_WAIT
        self._silent = False     # the failure is logged
        # A new set each time: programs end their connectors while they iterate over it.
        client.connectors = client.connectors | {self}

    def connect(self):
        self._timer = None
        if self.wanted and self.transport is None and self._connecting is None:
            self._connecting = reactor.connectUNIX(self.path, _Factory(self), timeout=5)

    def disconnect(self):
        """End the connection for good."""
        self.wanted = False
        self.client.connectors = self.client.connectors - {self}
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self.transport is not None:
            self.transport.loseConnection()
        elif self._connecting is not None:
            self._connecting.disconnect()

    def made(self, protocol):
        self.transport = protocol.transport
        self.client.connections.add(self.transport)

    def working(self):
        """The agent has accepted the request."""
        if self._silent:
            log.info('{what}: connected', what=self)
        self._wait, self._silent, self.failed = FIRST_WAIT, False, False

    def lost(self, reason):
        client, self._connecting = self.client, None
        if self.transport is not None:
            try:
                client.connectionLost(self, reason)
            except Exception:
                log.failure('connectionLost failed')
            client.connections.discard(self.transport)
            self.transport = None
        self.again(reason)

    def unreachable(self, reason):
        self._connecting = None
        self.again(reason)

    def again(self, reason):
        if not self.wanted:
            return
        if not self._silent and not self.client.disconnecting:
            self._silent = True
            log.warn('{what}: {reason}; it is tried again', what=self, reason=reason.getErrorMessage())
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT)
        if self._timer is None or not self._timer.active():
            self._timer = reactor.callLater(wait * random.uniform(0.7, 1), self.connect)

    def refused(self, status, why):
        if not self._silent:
            self._silent = True
            log.error('{what}: refused ({status}): {why}', what=self, status=status, why=why)
        if status in (409, 429):
            self._wait = TAKEN_WAIT
        elif status != 503:
            self._wait = REFUSED_WAIT
            if not self.failed:
                self.failed = True
                self.client.connectionFailed(self, failure.Failure(Refusal(why)))

    def unsubscribe(self, topics, done):
        reactor.callLater(0, done.callback, None)


class MembersConnector(Connector):
    """Follows the members of all roles."""

    def __str__(self):
        return 'members at ' + self.path

    def protocol(self):
        self._current = False
        self._roles, self._bits = {}, {}
        self._whole = False      # the status was told once on this connection
        self._unsubscribed = False
        out = _Client(self)
        out.path = '/members'
        return out

    def heard(self, said):
        self.working()
        if 'current' in said:
            self._current = bool(said['current'])
        elif 'members' in said:
            role = said['role']
            self._roles = {**self._roles, role: said['members']}
            if not said['members']:
                del self._roles[role]
            self._bits = {**self._bits, role: said['lookup']['bits']} if said.get('lookup') else self._bits
        elif 'told' in said:
            self._whole = True
        elif 'error' in said:
            log.error('{what}: {why}', what=self, why=said['error'])
        if self._whole and ('told' in said or 'current' in said) and not self._unsubscribed:
            # What an agent knows that has just started may be older than what was
            # told before. Without anything told before it is better than nothing.
            if self._current or self.client._told is None:
                self.client._told_members(self._roles, self._bits)

    def unsubscribe(self, topics, done):
        self._unsubscribed = not topics or 'Thor.Members' in topics
        super().unsubscribe(topics, done)


class JoinConnector(Connector):
    """Is the program's presence in a role."""

    def __init__(self, client, role, path):
        super().__init__(client, path)
        self.role = role
        self._leaving = None     # Deferreds to call at the end; None: it stays

    def __str__(self):
        return 'role ' + self.role

    def protocol(self):
        self._joined = self._drained = False
        out = self._protocol = _Client(self)
        out.method, out.path, out.hello = 'POST', '/join/' + self.role, self._hello()
        self._said = (out.hello, 'up')
        # One of its connections takes commands, or it would get each several times.
        entity = self.client._entity
        if self.client.handle_command is not None and entity is not None and entity.roles[:1] == (self.role,):
            out.hello = dict(out.hello, control=True)
        return out

    def _hello(self):
        entity = self.client._entity
        if entity is None:
            return {}
        attrs = {name: str(value) for name, value in vars(entity).items() if name not in ('ip', 'roles', 'version', 'weight') and value is not None}
        hello = {'version': str(entity.version), 'attrs': attrs}
        if isinstance(getattr(entity, 'weight', None), int):
            hello['weight'] = entity.weight
        return hello

    def _command(self, said):
        """A command that another node sent to the control port of this one."""
        done = defer.maybeDeferred(self.client.handle_command, Request(said['text']), said['node'])

        def answer(response):
            code, data = (200, '') if response is None else (response.code, response.data)
            if len(json.dumps(data)) > MAX_DATA:
                code, data = 500, 'the answer is longer than %d bytes' % MAX_DATA
            return code, data

        def failed(reason):
            log.failure('handling a command failed', failure=reason)
            return 500, 'the program failed'

        def send(answer):
            if said.get('id') and self._joined_now():
                self._protocol.say({'answer': {'id': said['id'], 'code': answer[0], 'data': answer[1]}})

        done.addCallback(answer).addErrback(failed).addCallback(send)

    def announce(self):
        """Say what is new of the entity and its state."""
        if not self._joined_now():
            return
        hello, state = self._hello(), 'draining' if self.role in self.client._halting else 'up'
        if (hello, state) != self._said:
            line = dict(hello) if hello != self._said[0] else {}
            if state != self._said[1]:
                line['state'] = state
            self._said = (hello, state)
            self._protocol.say(line)

    def _joined_now(self):
        return self.transport is not None and self._joined and self._leaving is None

    def leave(self):
        """Leave the network under the role, and do not come back."""
        if self._leaving is not None:
            return
        if not self._joined_now():
            self.disconnect()
            return
        self._leaving = []
        self.wanted = False
        self._protocol.say({'leave': True})
        self._timer = reactor.callLater(LEAVE_WITHIN, self._abort)

    def _abort(self):
        if self.transport is not None:
            self.transport.abortConnection()

    def heard(self, said):
        if 'joined' in said:
            self.working()
            self._joined = True
            self.announce()
        elif 'ping' in said:
            if self._leaving is None:
                self._protocol.say({'pong': said['ping']})
        elif 'self' in said:
            drained = bool(said['self'].get('drained'))
            if drained and not self._drained:
                self.client._heard_self(self.role, said['self'])
            self._drained = drained
        elif 'command' in said:
            if self.client.handle_command is not None:
                self._command(said['command'])
        elif 'signal' in said:
            self.client._heard_signal(said['signal'])
        elif 'error' in said:
            log.error('{what}: {why}', what=self, why=said['error'])

    def lost(self, reason):
        super().lost(reason)
        if self._leaving is not None:
            done, self._leaving = self._leaving, []
            self.disconnect()
            for one in done:
                one.callback(None)

    def unsubscribe(self, topics, done):
        if self._leaving is not None and self.transport is not None:
            self._leaving.append(done)  # once the agent has heard that it leaves
        else:
            super().unsubscribe(topics, done)


class _Question(Stream):
    def __init__(self, path, done):
        super().__init__()
        self.path = path
        self._done = done
        self._said = {}

    def heard(self, said):
        self._said = said

    def refused(self, status, why):
        self._said = {'error': why}

    def connectionLost(self, reason=protocol.connectionDone):
        if not self._done.called:
            self._done.callback((self.answer.status, self._said))


class _Questions(protocol.ClientFactory):
    noisy = False

    def __init__(self, path, done):
        self.path, self.done = path, done

    def buildProtocol(self, addr):
        return _Question(self.path, self.done)

    def clientConnectionFailed(self, connector, reason):
        if not self.done.called:
            self.done.callback((None, {'error': reason.getErrorMessage()}))


def ask(socket, path, within):
    """Ask a page of the agent. The result is its status, None without one, and what it says."""
    done = defer.Deferred()
    connector = reactor.connectUNIX(socket, _Questions(path, done), timeout=within)
    timer = reactor.callLater(within, connector.disconnect)

    def finished(result):
        if timer.active():
            timer.cancel()
        return result

    return done.addBoth(finished)
