"""Being a member of the network, and following who else is.

An EventServiceClient follows the members by one connection to the node agent of its
machine, and is a member by one more for each of its roles: that connection is its
presence. Publishing Thor.Presence opens them, publishing Thor.Leave ends them and
leaves the first one alone.
"""

import os
import signal

from twisted.internet import defer, reactor
from twisted.logger import Logger

import thor
from thor import network
from thor._connector import JoinConnector, MembersConnector, ask
from thor.entities import GenericThorEntity
from thor.scheduler import KeepRunning, RecurrentCall, in_reactor

__all__ = 'EventServiceClient', 'ThorEvent'

log = Logger('thor')

ADVERTISE_PERIOD = 10    # seconds between presences: each only asserts the one before
MONITOR_PERIOD = 60      # seconds between looks at where the agent is
DATABASE_PERIOD = 300    # seconds between questions where the database is, without a change
DATABASE_WITHIN = 2      # seconds that members wait for the answer


class ThorEvent:
    """Something that is published, or heard: a topic and what is said."""

    def __init__(self, name, message=None):
        self.name = name
        self.message = message

    def __repr__(self):
        return 'ThorEvent(%r, %r)' % (self.name, self.message)


class EventServiceClient:
    """What a program derives its own client from.

    It sets presence_message and shutdown_message (either may be None) and calls
    __init__. handle_event and the hooks run in the reactor's thread; publish, stop and
    __init__ may be called in any.
    """

    topics = []
    presence_message = None
    shutdown_message = None

    def __init__(self, domain, tls_context=None):
        self.domain = domain
        self.tls_context = tls_context  # not used: the kernel says who is at the ends of the socket
        self.connectors = set()
        self.connections = set()
        self.disconnecting = False
        self._entity = None       # what is announced; None: nothing is
        self._halting = set()     # roles whose program wants no new work
        self._roles = {}          # members by role, as last told
        self._bits = {}           # log2 of the slots of their lookups
        self._uris = {}           # locations of databases by node, passwords included
        self._asked = None        # (members, time) of the newest answer about databases
        self._asking = None       # a Deferred while an answer is waited for
        self._told = None         # the last message
        self.dns_monitor = RecurrentCall(MONITOR_PERIOD, self._monitor_event_servers)
        self.advertiser = None
        if self.presence_message is not None:
            self.advertiser = RecurrentCall(ADVERTISE_PERIOD, self._advertise)
        in_reactor(self._begin)

    def _begin(self):
        if not self.disconnecting:
            self._monitor_event_servers()
            if self.presence_message is not None and self.advertiser is not None:
                self._publish(self.presence_message)

    # What programs call.

    def stop(self):
        """Leave, and stop the reactor. It may be called in any thread."""
        reactor.callFromThread(self._shutdown)

    def _publish(self, event):
        """Say something. It may be called in any thread."""
        in_reactor(self._publish_here, event)

    def _publish_here(self, event):
        handler = {
            'Thor.Presence': self._publish_presence, 'Thor.Leave': self._publish_leave, 'Thor.Statistics': self._publish_statistics,
        }.get(event.name)
        if handler is None:
            log.warn('{topic} is not published: no member would hear it', topic=event.name)
            return
        handler(event.message)

    def _publish_presence(self, message):
        try:
            self._entity = GenericThorEntity.from_id(message)
        except ValueError as e:
            log.error('presence not published: {error}', error=str(e))
            return
        joined = {connector.role: connector for connector in self.connectors if connector.role is not None and connector._leaving is None}
        for role in self._entity.roles:
            if role not in joined:
                JoinConnector(self, role, thor.socket_path()).connect()
        for role, connector in joined.items():
            if role in self._entity.roles:
                connector.announce()
            else:
                connector.leave()

    def _publish_leave(self, message):
        self._entity = None
        for connector in list(self.connectors):
            if connector.role is not None:
                connector.leave()

    def _publish_statistics(self, message):
        for role, figures in (message.get('statistics') or {}).items():
            halting = isinstance(figures, dict) and figures.get('status') == 'halting'
            if halting == (role in self._halting):
                continue
            (self._halting.add if halting else self._halting.discard)(role)
            for connector in self.connectors:
                if connector.role == role:
                    connector.announce()

    def _advertise(self):
        if self.presence_message is not None and not self.disconnecting:
            self._publish(self.presence_message)
            if self._told is not None:
                self._told_members(self._roles, self._bits)  # the password of the database may be another by now
        return KeepRunning

    # The end.

    def _handle_signal(self, signum, frame):
        self.stop()

    def _shutdown(self):
        if self.disconnecting:
            return
        self.disconnecting = True
        self.dns_monitor.cancel()
        if self.advertiser:
            self.advertiser.cancel()
        if self.shutdown_message:
            self._publish(self.shutdown_message)
        requests = [connection.protocol.unsubscribe(*self.topics) for connection in self.connections]
        ended = defer.DeferredList([request.deferred for request in requests])
        ended.addCallback(self._disconnect_all)
        return ended

    def _disconnect_all(self, result):
        for connector in list(self.connectors):
            connector.disconnect()
        if reactor.running:
            reactor.callLater(0, _stop_reactor)

    # Where the agent is: one socket.

    def _monitor_event_servers(self):
        self._update_event_servers(self._get_event_servers())
        return KeepRunning

    def _get_event_servers(self):
        return [thor.socket_path()]

    def _update_event_servers(self, servers):
        in_reactor(self._update_here, servers)

    def _update_here(self, servers):
        following = {connector.path: connector for connector in self.connectors if connector.role is None}
        for path in servers:
            if path not in following and not self.disconnecting:
                MembersConnector(self, path).connect()
        for path, connector in following.items():
            if path not in servers:
                connector.disconnect()

    def connectionLost(self, connector, reason):
        """A connection has ended; it is made again."""
        self.connections.discard(connector.transport)

    def connectionFailed(self, connector, reason):
        """The agent refuses, and will again until its configuration changes."""
        connector.failed = True

    # What is heard.

    def handle_event(self, event):
        """For programs: something of self.topics has happened."""

    def handle_drain(self, role, reason):
        """For programs: an operator drains the role."""
        log.info('{role} is drained: {reason}', role=role, reason=reason)

    #: For programs: a method (command, node) that obeys a command which another node sent
    #: to the control port of this one. It returns a thor.link.Response, a Deferred of one,
    #: or None for what is done. None: the program takes no commands. They come by the
    #: connection of its first role.
    handle_command = None

    def _told_members(self, roles, bits):
        """The status is roles now, and bits the sizes of their lookups."""
        self._roles, self._bits = roles, bits
        databases = roles.get('thor_database', [])
        old = self._asked is None or self._asked[0] != databases or reactor.seconds() - self._asked[1] > DATABASE_PERIOD
        if databases and old and self._entity is not None and self._asking is None:
            self._asked = (databases, reactor.seconds())
            self._asking = self._locate_database()
            self._asking.addBoth(self._located)
        if self._asking is None:
            self._tell()

    def _located(self, uris):
        self._asking = None
        if isinstance(uris, dict):
            self._uris = uris
        if self._asked[0] != self._roles.get('thor_database', []):
            self._told_members(self._roles, self._bits)  # it changed meanwhile
        else:
            self._tell()

    @defer.inlineCallbacks
    def _locate_database(self):
        """The location to use, by its node: of the first role that is cleared for it."""
        refusals = []
        for role in self._entity.roles if self._entity else ():
            status, said = yield ask(thor.socket_path(), '/database/%s' % role, DATABASE_WITHIN)
            if status == 200 and said.get('uri'):
                return {said['node']: said['uri']}
            refusals.append('%s: %s' % (role, said.get('error', 'no answer')))
            if status == 503 or status is None:
                self._asked = (self._asked[0], reactor.seconds() - DATABASE_PERIOD)  # not a last word
                return self._uris
        log.info('no database: {refusals}', refusals='; '.join(refusals))
        return {}

    def _tell(self):
        if self.disconnecting or 'Thor.Members' not in self.topics:
            return
        nodes = {member['node'] for member in self._roles.get('thor_database', [])}
        message = {'roles': self._roles, 'databases': {node: uri for node, uri in self._uris.items() if node in nodes}}
        if message == self._told:
            return
        self._told = message
        network.known.update(self._roles, self._bits)
        try:
            self.handle_event(ThorEvent('Thor.Members', message))
        except Exception:
            log.failure('handling Thor.Members failed')

    def _heard_self(self, role, said):
        """How the agent announces the role."""
        if said.get('drained'):
            self.handle_drain(role, said.get('reason', ''))

    def _heard_signal(self, name):
        """The agent may not signal this process, and asks it to do so itself."""
        number = getattr(signal, 'SIG' + name, None)
        if number is not None:
            os.kill(os.getpid(), number)


def _stop_reactor():
    if reactor.running:
        reactor.stop()
