"""The node that serves a subscriber, among nodes that a program has added.

The answer is that of the network's own lookup, the one `thor lookup` gives: it
follows from the names and weights of the members, and from who of them takes new work.
Programs add addresses; what is known of the members is told to this module by
thor.eventservice, before it tells the program of a change.
"""

import threading

from thor import _lookup

__all__ = 'new', 'Network'


class _Known:
    """What the status says of the members: by role, a list of (name, addresses, weight)."""

    def __init__(self):
        self.roles = {}
        self.bits = {}
        self.generation = 0  # counts the changes

    def update(self, roles, bits):
        """Take over members by role, as the status has them, and the size of their tables."""
        self.roles = {role: [_candidate(member) for member in members] for role, members in roles.items()}
        self.bits = dict(bits)
        self.generation += 1


def _candidate(member):
    weight = member.get('weight', _lookup.DEFAULT_WEIGHT) if member.get('state') != 'draining' else 0
    return member['node'].encode(), frozenset(member.get('addresses', ())), weight


known = _Known()


def new(multiply=1000):
    """A network without nodes. multiply is not used: the lookup has no points on a ring."""
    return Network()


class Network:
    """A set of nodes, byte strings, and the lookup among them.

    Its methods may be called in any thread.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._nodes = {}    # as they were added, by themselves
        self._made = None   # (generation, candidates, bits, node by name, owners by slot)

    @property
    def nodes(self):
        """The nodes that were added."""
        with self._lock:
            return list(self._nodes)

    def add_node(self, node):
        """Add a node; one that is there already stays."""
        if not isinstance(node, bytes):
            raise TypeError('a node is a byte string, not %s' % type(node).__name__)
        with self._lock:
            self._nodes.setdefault(node, node)
            self._made = None

    def remove_node(self, node):
        """Remove a node; KeyError if it is not there."""
        with self._lock:
            del self._nodes[node]
            self._made = None

    def lookup_node(self, key):
        """The node that serves key, user@domain or a SIP URI, as the object that was added.

        LookupError without nodes that take new work, and for what is no such key.
        """
        if isinstance(key, str):
            key = key.encode('utf-8', 'surrogateescape')
        with self._lock:
            made = self._made
            if made is None or made[0] != known.generation:
                made = self._made = self._make()
            _, candidates, bits, by_name, owners = made
            if not candidates:
                raise LookupError('no node takes new work')
            slot = _lookup.slot_of(key, bits)
            if slot not in owners:
                owners[slot] = by_name[candidates.owner(slot)]
            return owners[slot]

    def _make(self):
        generation = known.generation
        role = self._role()
        if role is None:  # not of a network: the nodes are what their bytes say
            members = [(node, _lookup.DEFAULT_WEIGHT, node) for node in self._nodes]
        else:
            members = []
            for name, addresses, weight in known.roles[role]:
                node = next((self._nodes[a.encode()] for a in sorted(addresses) if a.encode() in self._nodes), None)
                if node is not None:
                    members.append((name, weight, node))
        by_name = {name: node for name, _, node in members}
        candidates = _lookup.Candidates((name, weight) for name, weight, _ in members)
        return generation, candidates, known.bits.get(role, _lookup.DEFAULT_BITS), by_name, {}

    def _role(self):
        """The role whose members the nodes are; None if they are no members."""
        for node in self._nodes:
            role = getattr(node, 'role', None) or getattr(getattr(node, 'ip', None), 'role', None)
            if role in known.roles:
                return role
        # A program that copied the addresses: the role that has most of them.
        counts = {}
        for role, members in known.roles.items():
            addresses = {a.encode() for _, all_of_one, _ in members for a in all_of_one}
            counts[role] = len(addresses & self._nodes.keys())
        best = max(counts.values(), default=0)
        if best == 0:
            return None
        return min((role for role, n in counts.items() if n == best), key=lambda role: (role != 'sip_proxy', role))
