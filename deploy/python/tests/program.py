"""A program written against the contract, as those of SIP Thor are. contract_test.go drives it.

It prints a line of JSON for each thing that happens, and takes commands on standard
input, in a thread of its own, as programs with workers do.
"""

import json
import os
import signal
import sys
import threading

from twisted.internet import defer, reactor
from twisted.python import threadable

from thor import network as thor_network
from thor.entities import GenericThorEntity, ThorEntities, ThorEntitiesRoleMap
from thor.eventservice import EventServiceClient, ThorEvent
from thor.link import ControlLink, Notification, Request, Response
from thor.scheduler import KeepRunning, RecurrentCall
from thor.tls import TLSContext, X509Credentials

lock = threading.Lock()


def say(**what):
    with lock:
        print(json.dumps(what), flush=True)


class Address(bytes):
    """What some programs put into their networks: a copy of the address with more to it."""

    def __new__(cls, ip, control_port):
        self = super().__new__(cls, ip.encode('utf-8'))
        self.ip = ip
        self.control_port = control_port
        return self


class Program(EventServiceClient):
    topics = ['Thor.Members']

    def __init__(self, ip, roles):
        self.node = GenericThorEntity(ip, roles, version='7.1', control_port=25061)
        self.presence_message = ThorEvent('Thor.Presence', self.node.id)
        self.shutdown_message = ThorEvent('Thor.Leave', self.node.id)
        self.networks = {}
        self.ticks = 0
        tls_context = TLSContext(X509Credentials(cert_name='node'))
        self.control = ControlLink(tls_context)
        EventServiceClient.__init__(self, 'test.example', tls_context)
        self.timer = RecurrentCall(0.05, self.tick)

    def tick(self):
        self.ticks += 1
        if self.ticks == 3:
            say(ticks=self.ticks, in_reactor=threadable.isInIOThread())
            return None
        return KeepRunning

    def handle_event(self, event):
        by_role = ThorEntitiesRoleMap(event.message)
        for role in list(by_role) + list(self.networks):
            net = self.networks.setdefault(role, thor_network.new(1000))
            new = {Address(member.ip, getattr(member, 'control_port', None)) for member in by_role.get(role, [])}
            old = set(net.nodes)
            for node in old - new:
                net.remove_node(node)
                self.control.discard_link(node)
            for node in new - old:
                net.add_node(node)
        databases = sorted(by_role.get('thor_database', []), key=lambda member: (member.priority, member.ip))
        say(event=event.name, in_reactor=threadable.isInIOThread(),
            members={role: sorted(member.id for member in members) for role, members in by_role.items()},
            states={member.id: member.state for member in ThorEntities(event.message, role='sip_proxy')},
            mine=[[member.version, member.control_port, list(member.roles)] for member in by_role.get('fax_server', [])],
            database=databases[0].dburi if databases else None)

    def handle_drain(self, role, reason):
        say(drain=role, reason=reason)

    def obey(self, command, node):
        say(command=str(command), node=node, in_reactor=threadable.isInIOThread())
        if command.startswith('get sip_watchers'):
            return defer.succeed(Response(200, json.dumps([{'watcher': 'bob@example.com', 'online': True}])))

    if os.environ.get('TAKES_COMMANDS'):
        handle_command = obey

    def connectionLost(self, connector, reason):
        self.connections.discard(connector.transport)
        say(lost=str(connector.role))

    def connectionFailed(self, connector, reason):
        connector.failed = True
        say(failed=str(connector.role), reason=reason.getErrorMessage())

    def lookup(self, key):
        node = self.networks['sip_proxy'].lookup_node(key)
        return node.ip

    def command(self, words):
        """A command; it runs in the thread of standard input."""
        name, *args = words
        if name == 'publish':
            self._publish(ThorEvent(*args, self.node.id))
        elif name == 'status':
            self._publish(ThorEvent('Thor.Statistics', {'ip': self.node.ip, 'statistics': {'fax_server': {'sessions': 2, 'status': args[0]}}}))
        elif name == 'leave':
            self.advertiser.cancel()
            self.advertiser = None
            self._publish(self.shutdown_message)
        elif name == 'lookup':
            for key in args:
                try:
                    say(key=key, ip=self.lookup(key))
                except LookupError as e:
                    say(key=key, error=str(e))
        elif name in ('request', 'notify'):
            address, port, *text = args
            request = (Request if name == 'request' else Notification)(' '.join(text))
            request.deferred = defer.Deferred()
            request.deferred.addCallbacks(
                lambda response: say(code=response.code, data=response.data), lambda failed: say(error=failed.getErrorMessage()))
            self.control.send_request(request, (address, int(port)))
        elif name == 'stop':
            self.stop()

    def commands(self):
        for line in sys.stdin:
            self.command(line.split())

    def _disconnect_all(self, result):
        self.control.disconnect_all()
        say(ended=True)
        EventServiceClient._disconnect_all(self, result)


if __name__ == '__main__':
    program = Program(sys.argv[1], sys.argv[2:])
    signal.signal(signal.SIGHUP, lambda signum, frame: say(signal='HUP'))
    signal.signal(signal.SIGTERM, program._handle_signal)
    threading.Thread(target=program.commands, daemon=True).start()
    reactor.run(installSignalHandlers=False)
