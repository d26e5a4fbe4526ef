#!/usr/bin/env python3
"""Makes vectors-v2.json, the test vectors of THORLKP2, by the implementation in Python.

    python3 overlay/lookup/testdata/vectors-v2.py > overlay/lookup/testdata/vectors-v2.json

Only together with a new version of the function. The members of a set have a weight,
a site (none if absent), and may drain.
"""

import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../../deploy/python'))

from thor import _lookup  # noqa: E402


def members(n, weights, sites, drains=()):
    out = []
    for i in range(n):
        m = {'node': 'n%04d' % i, 'weight': weights[i % len(weights)]}
        if sites[i % len(sites)]:
            m['site'] = sites[i % len(sites)]
        if i in drains:
            m['draining'] = True
        out.append(m)
    return out


MIXED = [100, 200, 400, 50, 150]
SETS = {
    'no sites': members(5, MIXED, ['']),
    'one site': members(5, MIXED, ['ams']),
    'one and none': members(6, MIXED, ['ams', '']),
    'two members': members(2, [100], ['ams', 'fra']),
    'two sites': members(10, [100], ['ams', 'fra']),
    'three sites': members(12, MIXED, ['ams', 'fra', 'par']),
    'some without': members(12, MIXED, ['ams', '', 'fra', '']),
    'one elsewhere': members(7, MIXED, ['ams', 'ams', 'ams', 'ams', 'ams', 'ams', 'fra']),
    'a site drains': members(9, MIXED, ['ams', 'fra', 'par'], drains=(1, 4, 7)),
    'only one left': members(4, [100], ['ams', 'fra'], drains=(1, 3)),
    'weight zero': members(10, [100, 0, 65535, 1, 7], ['fra', 'ams', 'ams', 'par']),
    'long names': members(6, [100, 250], ['a', 'ab', 'b', 'zz-9-north-building-of-the-campu']),
    'forty': members(40, MIXED, ['ams', 'fra', 'par', 'lhr', 'ams']),
}


def candidates(ms):
    taking = [m for m in ms if not m.get('draining')]
    return _lookup.Candidates(((m['node'].encode(), m['weight']) for m in taking),
                              {m['node'].encode(): m.get('site', '').encode() for m in taking})


def text():
    """The file."""
    rng = random.Random(2)
    tables, lookups = [], []
    for name, ms in sorted(SETS.items()):
        c = candidates(ms)
        node = lambda i: '' if i == _lookup.NONE else c.members[i][0].decode()  # noqa: E731
        tables.append({'set': name, 'bits': 10, 'digest': c.digest(10), 'remote_digest': c.remote_digest(10)})
        for _ in range(60):
            key = 'user%d@example.net' % rng.randrange(10**7)
            slot = _lookup.slot_of(key.encode(), 18)
            owner, heir = c.best(slot)
            lookups.append({'set': name, 'bits': 18, 'key': key, 'slot': slot, 'owner': node(owner), 'heir': node(heir), 'remote': node(c.remote(slot))})
    lines = lambda xs: ',\n'.join(json.dumps(x) for x in xs)  # noqa: E731
    sets = ',\n'.join('%s: %s' % (json.dumps(k), json.dumps(v)) for k, v in sorted(SETS.items()))
    return '{"function": "%s",\n"sets": {%s},\n"tables": [%s],\n"lookups": [%s]}\n' % (
        _lookup.VERSION_REMOTE.decode(), sets, lines(tables), lines(lookups))


if __name__ == '__main__':
    sys.stdout.write(text())
