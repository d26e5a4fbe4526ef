"""Members of the network, as programs see them."""

import json

__all__ = 'GenericThorEntity', 'ThorEntities', 'ThorEntitiesRoleMap'


class AddressBytes(bytes):
    """The address of a member as bytes, which remembers in which role it was found."""

    role = None


class Address(str):
    """The address of a member, which remembers in which role it was found.

    Programs build their networks (thor.network) from addresses alone; the lookup is
    one of nodes and weights of a role. This is how it gets from the ones to the others.
    """

    role = None

    def encode(self, encoding='utf-8', errors='strict'):
        out = AddressBytes(super().encode(encoding, errors))
        out.role = self.role
        return out


class GenericThorEntity:
    """Something that has an address and roles.

    Further keyword arguments become attributes, and so does what is set later; all of
    it is announced when the entity's id is published.
    """

    def __init__(self, ip, roles, version='unknown', control_port=None, **attributes):
        self.ip = ip
        self.roles = tuple(roles)
        self.version = version
        if control_port is not None:
            self.control_port = control_port
        for name, value in attributes.items():
            setattr(self, name, value)

    @property
    def id(self):
        """A text that says all of it, so that publishing the id is publishing the entity."""
        return json.dumps(vars(self), sort_keys=True, default=str)

    @classmethod
    def from_id(cls, id):
        """The entity of that id; ValueError if it is none."""
        try:
            said = json.loads(id)
            return cls(said.pop('ip'), said.pop('roles'), **said)
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            raise ValueError('not the id of an entity') from e

    def __repr__(self):
        return '%s(%s)' % (type(self).__name__, ', '.join('%s=%r' % item for item in sorted(vars(self).items())))

    __str__ = __repr__


class Member(GenericThorEntity):
    """An entity out of the network's status: one node in one of its roles.

    `node` is its name, `state` up, suspect or draining, and `roles` are all roles of the
    node. What the member announces as attributes are attributes here.
    """

    def __init__(self, role, said, roles):
        address = Address(first_address(said['addresses']))
        address.role = role
        super().__init__(address, roles, version=said.get('version') or 'unknown')
        self.node = said['node']
        self.role = role
        self.state = said.get('state', 'up')
        self.priority = said.get('priority') or 0xffff  # without one it comes last
        self.weight = said.get('weight', 100)
        self.addresses = tuple(said['addresses'])
        for name, value in (said.get('attrs') or {}).items():
            if not hasattr(self, name):
                setattr(self, name, value)
        self.control_port = port(getattr(self, 'control_port', None))

    @property
    def id(self):
        """The name of the node."""
        return self.node


def port(text):
    """A port as a number; None if it is none."""
    try:
        number = int(text)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < 65536 else None


def first_address(addresses):
    """The address to show: the first of IPv4, which all programs can use, or else the first."""
    return next((a for a in addresses if ':' not in a), addresses[0])


class ThorEntitiesRoleMap(dict):
    """The members by role, from the message of a Thor.Members event: lists of entities."""

    def __init__(self, message):
        super().__init__()
        roles_of = {}
        for role in sorted(message['roles']):
            for said in message['roles'][role]:
                roles_of.setdefault(said['node'], []).append(role)
        uris = message.get('databases') or {}
        for role, members in message['roles'].items():
            found = [Member(role, said, roles_of[said['node']]) for said in members if said.get('addresses')]
            if role == 'thor_database':
                # A location without its password is of no use, and a program would take it.
                found = [member for member in found if member.node in uris]
                for member in found:
                    member.dburi = uris[member.node]
            if found:
                self[role] = found


class ThorEntities(list):
    """The members of one role, or all, from the message of a Thor.Members event."""

    def __init__(self, message, role=None):
        by_role = ThorEntitiesRoleMap(message)
        if role is not None:
            super().__init__(by_role.get(role, []))
        else:
            super().__init__(member for name in sorted(by_role) for member in by_role[name])
