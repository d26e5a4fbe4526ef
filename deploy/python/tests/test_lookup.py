"""The lookup is that of the network: the vectors are those of the implementation in Go."""

import importlib.util
import json
import os
import struct
import unittest

from thor import _lookup, entities, network

VECTORS = os.path.join(os.path.dirname(__file__), '../../../overlay/lookup/testdata/vectors-v1.json')


def candidates(members):
    return _lookup.Candidates((m['node'].encode(), m['weight']) for m in members if not m.get('draining'))


class Vectors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(VECTORS, encoding='utf-8') as f:
            cls.vectors = json.load(f)
        assert cls.vectors['function'].encode() == _lookup.VERSION

    def test_hash(self):
        for data, want in self.vectors['hash']:
            self.assertEqual('%016x' % _lookup.xxh64(bytes.fromhex(data)), want)

    def test_logarithms(self):
        table = struct.pack('<4097Q', *_lookup.log2_table())
        self.assertEqual('%016x' % _lookup.xxh64(table), self.vectors['log2_table'])
        for s in self.vectors['scores']:
            x = int(s['x'], 16)
            self.assertEqual((_lookup.neglog2(x), str(_lookup.score(x, s['weight']))), (s['l'], s['score']), s)

    def test_normal_form(self):
        for key, want in self.vectors['normal']:
            self.assertEqual(_lookup.normal(key.encode()), want.encode())
            self.assertEqual(_lookup.normal(want.encode()), want.encode())
        for key in self.vectors['bad']:
            with self.assertRaises(LookupError, msg=key):
                _lookup.normal(key.encode())

    def test_digests(self):
        done = 0
        for table in self.vectors['tables']:
            if table['bits'] == 10:  # the others take minutes
                self.assertEqual(candidates(self.vectors['sets'][table['set']]).digest(10), table['digest'], table)
                done += 1
        self.assertGreater(done, 5)

    def test_lookups(self):
        sets = {name: candidates(members) for name, members in self.vectors['sets'].items()}
        for want in self.vectors['lookups']:
            slot = _lookup.slot_of(want['key'].encode(), want['bits'])
            of = sets[want['set']]
            owner, heir = ('' if i == _lookup.NONE else of.members[i][0].decode() for i in of.best(slot))
            self.assertEqual((slot, owner, heir), (want['slot'], want['owner'], want['heir']), want)

    def test_through_the_package(self):
        """The vectors once more, by what programs call, with addresses of members."""
        members = [dict(m, addresses=['10.0.%d.%d' % divmod(i, 250)]) for i, m in enumerate(self.vectors['sets']['A100'])]
        network.known.update({'sip_proxy': members}, {'sip_proxy': 18})
        self.addCleanup(network.known.update, {}, {})
        net = network.new(1000)
        address = {m['node']: m['addresses'][0].encode() for m in members}
        for one in address.values():
            net.add_node(one)
        for want in self.vectors['lookups']:
            if want['set'] == 'A100':
                self.assertEqual(net.lookup_node(want['key']), address[want['owner']])


class RemoteVectors(unittest.TestCase):
    """vectors-v2.json is what the script beside it makes of this package."""

    def test_the_file_is_what_is_computed(self):
        path = os.path.join(os.path.dirname(VECTORS), 'vectors-v2.py')
        spec = importlib.util.spec_from_file_location('vectors_v2', path)
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        with open(os.path.join(os.path.dirname(VECTORS), 'vectors-v2.json'), encoding='utf-8') as f:
            self.assertEqual(f.read(), script.text())


class NetworkTest(unittest.TestCase):
    def setUp(self):
        self.addCleanup(network.known.update, {}, {})

    def test_the_same_object_comes_back(self):
        class Node(bytes):
            pass
        net, node = network.new(1000), Node(b'192.0.2.1')
        net.add_node(node)
        net.add_node(Node(b'192.0.2.1'))
        self.assertIs(net.lookup_node(b'alice@example.com'), node)
        self.assertIs(net.nodes[0], node)
        self.assertEqual(len(net.nodes), 1)

    def test_without_nodes(self):
        net = network.new(1000)
        with self.assertRaises(LookupError):
            net.lookup_node('alice@example.com')
        net.add_node(b'192.0.2.1')
        net.remove_node(b'192.0.2.1')
        with self.assertRaises(LookupError):
            net.lookup_node('alice@example.com')
        with self.assertRaises(LookupError):
            net.remove_node(b'192.0.2.1')
        with self.assertRaises(TypeError):
            net.add_node('192.0.2.1')

    def test_what_drains_takes_no_new_work(self):
        net = network.new(1000)
        for address in b'192.0.2.1', b'192.0.2.2':
            net.add_node(address)
        members = [{'node': 'p%d' % i, 'addresses': ['192.0.2.%d' % i], 'weight': 100, 'state': 'up'} for i in (1, 2)]
        network.known.update({'sip_proxy': members}, {})
        keys = ['user%d@example.com' % i for i in range(50)]
        self.assertEqual({net.lookup_node(key) for key in keys}, {b'192.0.2.1', b'192.0.2.2'})
        members[0]['state'] = 'draining'
        network.known.update({'sip_proxy': members}, {})
        self.assertEqual({net.lookup_node(key) for key in keys}, {b'192.0.2.2'})
        members[1]['weight'] = 0
        network.known.update({'sip_proxy': members}, {})
        with self.assertRaises(LookupError):
            net.lookup_node(keys[0])

    def test_the_role_is_that_of_the_member_that_was_added(self):
        """One machine in two roles, of which it has another weight in each."""
        def members(weights):
            return [{'node': 'n%d' % i, 'addresses': ['192.0.2.%d' % i], 'weight': w, 'state': 'up'} for i, w in enumerate(weights)]
        roles = {'sip_proxy': members([100, 0]), 'xcap_server': members([0, 100])}
        network.known.update(roles, {})
        for role, want in (('sip_proxy', b'192.0.2.0'), ('xcap_server', b'192.0.2.1')):
            net = network.new(1000)
            for member in entities.ThorEntities({'roles': roles}, role=role):
                net.add_node(member.ip.encode())
            self.assertEqual(net.lookup_node('alice@example.com'), want)


if __name__ == '__main__':
    unittest.main()
