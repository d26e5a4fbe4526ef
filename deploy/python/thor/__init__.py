"""The package through which programs of a SIP platform are members of a network.

It has the names and the behaviour that programs written for SIP Thor expect. Under
them is the node agent of the machine: a program speaks to it on its Unix socket and
needs neither a connection to a broker nor a certificate for that. Where the socket is
says the environment variable THOR_SOCKET; without it, /run/thor/node.sock.

    thor.entities      members, and who of them has which role
    thor.eventservice  being a member, and following the others
    thor.network       the node that serves a subscriber
    thor.link          commands from node to node
    thor.scheduler     functions that run again and again
    thor.tls           certificates of the machine

docs/python.md has what is kept of the contract, and what is different.
"""

import os

__version__ = '2.0.0'

#: Where the configuration and the certificates of the machine are.
system_config_directory = os.environ.get('THOR_CONFIG_DIR') or '/etc/thor'

#: The name of a program's configuration file there.
configuration_filename = 'config.ini'


def socket_path():
    """The name of the node agent's Unix socket."""
    return os.environ.get('THOR_SOCKET') or '/run/thor/node.sock'
