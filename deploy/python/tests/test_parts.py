"""Entities, the codec of the stream, the scheduler, names in certificates."""

import random
import re
import signal
import unittest

import thor
from thor._stream import MAX_LINE, Answer, Malformed
from thor.entities import GenericThorEntity, ThorEntities, ThorEntitiesRoleMap
from thor.eventservice import EventServiceClient
from thor.link import ControlLink, Notification, Request, Response
from thor.tls import X509NameValidator


def member(node, ip, **more):
    return dict({'node': node, 'addresses': [ip], 'state': 'up', 'priority': 0, 'weight': 100, 'attrs': {}}, **more)


class Entities(unittest.TestCase):
    def test_an_id_is_the_entity(self):
        entity = GenericThorEntity('192.0.2.1', ['xcap_server', 'web'], control_port=25061, version='6.1')
        entity.site = 'ams'
        again = GenericThorEntity.from_id(entity.id)
        self.assertEqual(vars(again), vars(entity))
        self.assertEqual(again.roles, ('xcap_server', 'web'))
        self.assertEqual(again.roles + ('sip_proxy',), ('xcap_server', 'web', 'sip_proxy'))
        for bad in 'node1', '', '[]', '{}', '{"ip":1}', None:
            with self.assertRaises(ValueError):
                GenericThorEntity.from_id(bad)

    def test_members(self):
        message = {'roles': {
            'sip_proxy': [member('p1', '2001:db8::1', addresses=['2001:db8::1', '192.0.2.1'], attrs={'control_port': '9503', 'site': 'ams'}), member('p2', '192.0.2.2')],
            'xcap_server': [member('p1', '192.0.2.1', version='6.1')],
            'thor_database': [member('d1', '192.0.2.8', priority=50), member('d2', '192.0.2.9', priority=10), member('d3', '192.0.2.7')],
        }, 'databases': {'d1': 'mysql://u:p@d1/thor', 'd2': 'mysql://u:p@d2/thor'}}
        by_role = ThorEntitiesRoleMap(message)
        p1 = by_role['sip_proxy'][0]
        self.assertEqual((p1.ip, p1.roles, p1.control_port, p1.version, p1.site), ('192.0.2.1', ('sip_proxy', 'xcap_server'), 9503, 'unknown', 'ams'))
        self.assertIsNone(by_role['sip_proxy'][1].control_port)
        self.assertEqual([m.version for m in ThorEntities(message, role='xcap_server')], ['6.1'])
        self.assertEqual(list(ThorEntities(message, role='no_such')), [])
        databases = by_role.get('thor_database', [])
        databases.sort(key=lambda x: (x.priority, x.ip))
        self.assertEqual([d.dburi for d in databases], ['mysql://u:p@d2/thor', 'mysql://u:p@d1/thor'])

    def test_attributes_do_not_hide_what_a_member_is(self):
        one, = ThorEntities({'roles': {'r': [member('n', '192.0.2.1', attrs={'ip': '6.6.6.6', 'roles': 'x', 'id': 'y', 'state': 'z', 'control_port': '99999'})]}})
        self.assertEqual((one.ip, one.roles, one.id, one.state, one.control_port), ('192.0.2.1', ('r',), 'n', 'up', None))

    def test_version(self):
        self.assertGreaterEqual(tuple(map(int, thor.__version__.split('.'))), (1, 1, 21))
        self.assertTrue(re.match('/', thor.system_config_directory))


class Codec(unittest.TestCase):
    HEAD = b'HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n'

    def read(self, data, cuts):
        answer, out, before = Answer(), [], 0
        for at in sorted(cuts) + [len(data)]:
            out += answer.feed(data[before:at])
            before = at
        return answer, out

    def test_however_it_is_cut(self):
        data = self.HEAD + b'b\r\n{"a":1}\n{"b\r\n6\r\n":2}\n\n\r\n1;x=y\r\n\n\r\n0\r\n\r\n'
        rng = random.Random(1)
        for n in range(200):
            answer, out = self.read(data, [rng.randrange(len(data)) for _ in range(n % 20)])
            self.assertEqual((out, answer.status, answer.ended), ([{'a': 1}, {'b': 2}], 200, True))

    def test_a_refusal_has_a_length(self):
        answer, out = self.read(b'HTTP/1.1 409 Conflict\r\nContent-Length: 15\r\n\r\n{"error":"why"}', [20, 60])
        self.assertEqual((out, answer.status, answer.ended), ([{'error': 'why'}], 409, True))

    def test_rubbish(self):
        for data in b'SSH-2.0-x\r\n\r\n', b'HTTP/1.1 x\r\n\r\n', b'x' * 20000, self.HEAD + b'zz\r\n', self.HEAD + b'9' * 70, \
                self.HEAD + b'3\r\n[]\n\r\n', self.HEAD + b'2\r\n{\n\r\n':
            with self.assertRaises(Malformed, msg=data[:60]):
                self.read(data, [])

    def test_a_line_has_a_bound(self):
        answer = Answer()
        list(answer.feed(self.HEAD))
        with self.assertRaises(Malformed):
            for _ in range(MAX_LINE // (1 << 20) + 2):
                list(answer.feed(b'100000\r\n' + b'x' * (1 << 20) + b'\r\n'))


class Names(unittest.TestCase):
    class Subject:
        organization, organization_unit, common_name = 'Example', 'media_relay', None

    def test_passports(self):
        self.assertIsNone(X509NameValidator('None'))
        for text, want in ('O:Example', True), ('O:Example, OU:*relay', True), ('OU:media*', True), ('O:Other', False), ('CN:x', False), ('O:Exam', False):
            self.assertEqual(X509NameValidator(text).validate(self.Subject), want, text)
        for bad in 'Example', 'X:y', 'O:a*b':
            with self.assertRaises(ValueError):
                X509NameValidator(bad)


class Signals(unittest.TestCase):
    def test_a_program_signals_itself_where_the_agent_may_not(self):
        got = []
        before = signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        client = EventServiceClient.__new__(EventServiceClient)
        client._heard_signal('USR1')
        client._heard_signal('NONE')
        self.assertEqual(got, [signal.SIGUSR1])


class Commands(unittest.TestCase):
    def test_commands_are_strings(self):
        class GetWatchers(Request):
            def __new__(cls, account):
                return Request.__new__(cls, 'get sip_watchers for %s' % account)
        self.assertEqual(GetWatchers('a@b'), 'get sip_watchers for a@b')
        self.assertIsNone(Notification('notify update sip_account a@b').deferred)
        self.assertEqual(Response(200, '[]').data, '[]')

    def test_a_command_is_one_line(self):
        link = ControlLink(None)
        for bad in 'a\nb', 'a\rb', 'x' * 2000:
            with self.assertRaises(ValueError):
                link.send_request(Request(bad), ('192.0.2.1', 9503))
        with self.assertRaises(TypeError):
            link.send_request('notify update sip_account a@b', ('192.0.2.1', 9503))


if __name__ == '__main__':
    unittest.main()
