"""The lookup of the network, versions THORLKP1 and THORLKP2: which node serves a subscriber.

A slot belongs to the member with the best draw in it (weighted rendezvous). The
function is the one of every other part of the network, bit by bit: the test vectors
overlay/lookup/testdata/vectors-v1.json are those of the implementation in Go, and
those of vectors-v2.json are made here. The function is evaluated directly, without
a table of all slots.
"""

import re
import struct
from functools import lru_cache

VERSION = b'THORLKP1'
VERSION_REMOTE = b'THORLKP2'
MIN_BITS, DEFAULT_BITS, MAX_BITS = 10, 18, 24
DEFAULT_WEIGHT, MAX_WEIGHT = 100, 65535
NONE = 0xffff
MAX_KEY, MAX_NORMAL = 1024, 512

_MASK = (1 << 64) - 1
_P1, _P2, _P3 = 0x9e3779b185ebca87, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9
_P4, _P5 = 0x85ebca77c2b2ae63, 0x27d4eb2f165667c5


class BadKey(LookupError, ValueError):
    """The key is neither user@domain nor a SIP URI."""


def _rotate(x, n):
    return ((x << n) | (x >> (64 - n))) & _MASK


def _round(acc, word):
    return _rotate((acc + word * _P2) & _MASK, 31) * _P1 & _MASK


def xxh64(data):
    """XXH64 of bytes with the seed 0."""
    n = len(data)
    at = 0
    if n >= 32:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        for words in struct.iter_unpack('<4Q', data[:n - n % 32]):
            lanes = [_round(lane, word) for lane, word in zip(lanes, words)]
        at = n - n % 32
        h = sum(_rotate(lane, turn) for lane, turn in zip(lanes, (1, 7, 12, 18))) & _MASK
        for lane in lanes:
            h = ((h ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        h = _P5
    h = (h + n) & _MASK
    while at + 8 <= n:
        h = (_rotate(h ^ _round(0, int.from_bytes(data[at:at + 8], 'little')), 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= n:
        h = (_rotate(h ^ (int.from_bytes(data[at:at + 4], 'little') * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        h = _rotate(h ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    h = (h ^ h >> 33) * _P2 & _MASK
    h = (h ^ h >> 29) * _P3 & _MASK
    return h ^ h >> 32


def mix64(x):
    x = (x ^ x >> 33) * 0xff51afd7ed558ccd & _MASK
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53 & _MASK
    return x ^ x >> 33


_bad_in_user = re.compile(rb'[\x00-\x20\x7f<>"]')
_literal = re.compile(rb'(\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?\Z')
_name = re.compile(rb'([A-Za-z0-9._-]+)(:[0-9]{1,5})?\Z')


def normal(key):
    """The normal form of a key, bytes as well; it raises BadKey."""
    if len(key) > MAX_KEY:
        raise BadKey('the key is longer than %d bytes' % MAX_KEY)
    scheme = re.match(rb'sips?:', key, re.IGNORECASE)
    rest = key[scheme.end():] if scheme else key
    user, at, host = rest.partition(b'@')
    if not at:
        raise BadKey('the key has no @')
    host = re.split(rb'[;?]', host, maxsplit=1)[0]
    if b':' in user:
        if not scheme:
            raise BadKey('the key has a colon in its user, and no scheme')
        user = user.partition(b':')[0]
    if not user or _bad_in_user.search(user):
        raise BadKey('the user of the key is empty, or has characters that none may have')
    if host.startswith(b'['):
        match = _literal.match(host)
        name = match and match.group(1)
    else:
        match = _name.match(host)
        name = match and match.group(1).removesuffix(b'.')
        if name and (name.startswith(b'.') or name.endswith(b'.') or b'..' in name):
            name = None
    if not name:
        raise BadKey('the host of the key is none')
    out = user + b'@' + name.lower()
    if len(out) > MAX_NORMAL:
        raise BadKey('the key is longer than %d bytes' % MAX_NORMAL)
    return out


@lru_cache(maxsize=None)
def log2_table():
    """T[i] = floor(2^40 log2(1 + i/4096)), by integers alone."""
    table = []
    for i in range(4096):
        y, t = (4096 + i) << 51, 0
        for _ in range(40):
            q = y * y >> 64
            t <<= 1
            if q >> 63:
                t, y = t + 1, q
            else:
                y = q << 1
        table.append(t)
    return table + [1 << 40]


def neglog2(x):
    """-log2((x|1) / 2^64) with 40 bits behind the point."""
    y = x | 1
    zeros = 64 - y.bit_length()
    m = (y << (zeros + 1)) & _MASK
    i, f = m >> 52, m >> 20 & 0xffffffff
    table = log2_table()
    return ((zeros + 1) << 40) - (table[i] + ((table[i + 1] - table[i]) * f >> 32))


def score(x, weight):
    return (neglog2(x) << 16) // weight


def slot_of(key, bits):
    """The slot of a key, which it normalises."""
    return xxh64(normal(key)) >> (64 - bits)


class Candidates:
    """The members that take new work, pairs of a node's name (bytes) and its weight.

    sites are the names of their sites, bytes, by the names of the nodes."""

    def __init__(self, members, sites=None):
        self.members = sorted((node, weight) for node, weight in members if weight > 0)
        self.sites = [(sites or {}).get(node, b'') for node, _ in self.members]
        self._hashes = [xxh64(node) for node, _ in self.members]
        self._equal = len({weight for _, weight in self.members}) == 1

    def __len__(self):
        return len(self.members)

    def best(self, slot):
        """The indices of owner and heir of a slot, NONE where there is none."""
        return tuple(self._order(slot)[:2] + [NONE, NONE])[:2]

    def _order(self, slot):
        """The indices of all members in the order of their rank in a slot."""
        m = mix64((slot + 0x9e3779b97f4a7c15) & _MASK)
        draws = [mix64(h ^ m) for h in self._hashes]
        if self._equal:  # the order of the scores is that of the draws
            return sorted(range(len(draws)), key=lambda i: (-draws[i], i))
        return sorted(range(len(draws)), key=lambda i: (score(draws[i], self.members[i][1]), -draws[i], i))

    def several_sites(self):
        """Whether there are remotes: the members are in two sites at least."""
        return len(set(self.sites) - {b''}) > 1

    def remote(self, slot):
        """The index of the first in rank in another site than the owner, NONE without sites."""
        if not self.several_sites():
            return NONE
        order = self._order(slot)
        return next(i for i in order if self.sites[i] not in (b'', self.sites[order[0]]))

    def owner(self, slot):
        """The name of the owner of a slot; None without members."""
        i = self.best(slot)[0]
        return None if i == NONE else self.members[i][0]

    def digest(self, bits):
        """The digest of the table of these members, as the network's status has it."""
        pairs = [self.best(slot) for slot in range(1 << bits)]
        data = bytearray(VERSION + struct.pack('<II', bits, len(self.members)))
        for node, weight in self.members:
            data += bytes([len(node)]) + node + struct.pack('<H', weight)
        for which in 0, 1:
            data += struct.pack('<%dH' % len(pairs), *(pair[which] for pair in pairs))
        return '%016x' % xxh64(bytes(data))

    def remote_digest(self, bits):
        """The digest of the remotes, as the network's status has it; '' without them."""
        if not self.several_sites():
            return ''
        data = bytearray(VERSION_REMOTE + struct.pack('<Q', int(self.digest(bits), 16)))
        for site in self.sites:
            data += bytes([len(site)]) + site
        data += struct.pack('<%dH' % (1 << bits), *(self.remote(slot) for slot in range(1 << bits)))
        return '%016x' % xxh64(bytes(data))
