"""What goes on between a program, its connections and its links, without a network."""

import unittest
from unittest import mock

from twisted.internet import task
from twisted.internet.error import ConnectionLost
from twisted.python import failure

from thor import _connector, eventservice, link
from thor.entities import GenericThorEntity
from thor.eventservice import EventServiceClient, ThorEvent
from thor.link import Request


class Transport:
    """The connection of a link."""

    def __init__(self):
        self.written = []
        self.aborted = False

    def setTcpNoDelay(self, on):
        pass

    def write(self, data):
        self.written.append(data)

    def abortConnection(self):
        self.aborted = True

    certificate = None

    def getPeerCertificate(self):
        return self.certificate


class Owner:
    def dial(self, host, port, factory):
        self.protocol = factory.buildProtocol(None)
        self.protocol.transport = Transport()
        return mock.Mock()

    def forget(self, of):
        self.forgotten = True


class Proof(unittest.TestCase):
    """A command goes to the node that it is for, or to none."""

    def setUp(self):
        self.clock = task.Clock()
        self.check = mock.Mock()
        for patch in mock.patch.object(link, 'reactor', self.clock), mock.patch.object(link, 'check_address', self.check):
            patch.start()
            self.addCleanup(patch.stop)
        self.owner = Owner()
        self.link = link._Link(self.owner, ('192.0.2.1', 9503))
        self.results = []

    def send(self):
        request = Request('notify update sip_account a@b')
        request.deferred = mock.Mock(callback=self.results.append)
        self.link.send(request)

    def test_nothing_is_written_before_the_handshake(self):
        self.send()
        self.owner.protocol.connectionMade()
        self.send()
        self.assertEqual(self.owner.protocol.transport.written, [])
        self.check.assert_not_called()
        self.owner.protocol.transport.certificate = 'of the node'
        self.owner.protocol.handshakeCompleted()
        self.check.assert_called_once_with('of the node', '192.0.2.1')
        self.assertEqual(len(self.owner.protocol.transport.written), 2)
        self.send()
        self.assertEqual(len(self.owner.protocol.transport.written), 3)

    def test_another_node_gets_no_command(self):
        for early in False, True:
            self.setUp()
            self.check.side_effect = link.LinkError('the certificate is for another')
            self.send()
            transport = self.owner.protocol.transport
            if early:  # as with gnutls: the handshake is over when the connection is made
                transport.certificate = 'of another'
            self.owner.protocol.connectionMade()
            if not early:
                self.owner.protocol.handshakeCompleted()
            self.assertEqual(transport.written, [])
            self.assertTrue(transport.aborted)
            self.assertEqual([type(r.value) for r in self.results], [link.LinkError])

    def test_a_connection_that_ends_is_proved_again(self):
        self.send()
        self.owner.protocol.connectionMade()
        self.owner.protocol.handshakeCompleted()
        self.owner.protocol.connectionLost(failure.Failure(ConnectionLost()))
        second = self.owner.protocol
        second.connectionMade()
        self.assertEqual(second.transport.written, [])
        second.handshakeCompleted()
        self.assertEqual(len(second.transport.written), 1)
        self.assertEqual(self.check.call_count, 2)


class LateAnswers(unittest.TestCase):
    def setUp(self):
        self.clock = task.Clock()
        for patch in mock.patch.object(link, 'reactor', self.clock), mock.patch.object(link, 'check_address'):
            patch.start()
            self.addCleanup(patch.stop)
        self.owner = Owner()
        self.link = link._Link(self.owner, ('192.0.2.1', 9503))
        self.results = []

    def send(self):
        request = Request('get sip_watchers for a@b')
        request.deferred = mock.Mock(callback=self.results.append)
        self.link.send(request)
        if self.link.protocol is None:
            self.owner.protocol.connectionMade()
            self.owner.protocol.handshakeCompleted()
        return self.link.protocol

    def test_a_late_answer_fails_no_other_command(self):
        protocol = self.send()
        self.clock.advance(1)
        self.send()
        self.clock.advance(link.ANSWER_WITHIN - 1)
        self.assertEqual([type(r.value) for r in self.results], [link.LinkError])
        protocol.lineReceived(b'1 200 late\r')
        protocol.lineReceived(b'2 200 in time\r')
        self.assertEqual([repr(r) for r in self.results[1:]], ["Response(200, 'in time')"])
        self.assertFalse(protocol.transport.aborted)

    def test_an_answer_to_nothing_ends_the_link(self):
        for line in b'0 400 a line without its end', b'3 200 ', b'x 200 ', b'1 ', b'1 x ':
            self.link = link._Link(self.owner, ('192.0.2.1', 9503))
            self.results.clear()
            protocol = self.send()
            self.send()
            protocol.lineReceived(line)
            self.assertTrue(protocol.transport.aborted, line)
            self.assertEqual([type(r.value) for r in self.results], [link.LinkError] * 2, line)

    def test_a_link_whose_last_command_was_late_ends_when_it_is_idle(self):
        protocol = self.send()
        self.clock.advance(link.ANSWER_WITHIN)
        self.assertFalse(protocol.transport.aborted)
        protocol.lineReceived(b'1 200 late')
        self.clock.advance(link.IDLE_FOR)
        self.assertTrue(protocol.transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Program(EventServiceClient):
    """A client that has begun nothing."""

    def __init__(self, roles):
        self.connectors, self.connections, self.disconnecting = set(), set(), False
        self._entity, self._halting = None, set()
        self.entity = GenericThorEntity('192.0.2.1', roles)

    def handle_command(self, command, node):
        return None


class Roles(unittest.TestCase):
    def setUp(self):
        self.clock = task.Clock()
        self.clock.connectUNIX = lambda path, factory, timeout: mock.Mock(factory=factory)
        for patch in mock.patch.object(_connector, 'reactor', self.clock), mock.patch.object(eventservice, 'reactor', self.clock):
            patch.start()
            self.addCleanup(patch.stop)

    def publish(self, program, name):
        program._publish_here(ThorEvent('Thor.' + name, program.entity.id))

    def connected(self, program, role):
        """The agent has accepted the newest connection of the role."""
        connector, = [c for c in program.connectors if c.role == role and c._leaving is None]
        protocol = connector.protocol()
        protocol.transport = mock.Mock(protocol=protocol)
        protocol.connectionMade()
        connector.heard({'joined': {}})
        return protocol

    def test_a_program_in_two_roles_takes_a_command_once(self):
        program = Program(['xcap_server', 'fax_server'])
        self.publish(program, 'Presence')
        hellos = {role: self.connected(program, role).hello for role in ('xcap_server', 'fax_server')}
        self.assertEqual([role for role, hello in hellos.items() if hello.get('control')], ['xcap_server'])

    def test_a_role_comes_back_while_it_leaves(self):
        program = Program(['fax_server'])
        self.publish(program, 'Presence')
        before = self.connected(program, 'fax_server')
        self.publish(program, 'Leave')
        self.publish(program, 'Presence')
        self.publish(program, 'Presence')
        self.assertEqual(len(program.connectors), 2)
        before.connectionLost(mock.Mock())
        self.assertEqual(len(program.connectors), 1)
        self.connected(program, 'fax_server')
        self.publish(program, 'Leave')
        self.publish(program, 'Leave')
        self.assertEqual([c._leaving for c in program.connectors], [[]])


if __name__ == '__main__':
    unittest.main()
