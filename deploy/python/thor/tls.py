"""Certificates of the machine, and what the names in them must be.

With the python3-gnutls library, which the programs of SIP Thor use, X509Credentials are
credentials of that library. Without it they are for the TLS of Twisted; TLSContext is
the class of whichever there is.
"""

import os

import thor

try:
    from gnutls.crypto import X509CRL, X509Certificate, X509PrivateKey
    from gnutls.interfaces.twisted import TLSContext as _Context
    from gnutls.interfaces.twisted import X509Credentials as _Credentials
except ImportError:
    _Credentials = None

try:
    from application.process import process
except ImportError:
    process = None

__all__ = 'TLSContext', 'X509Credentials', 'X509NameValidator'


def find(name):
    """The path of a file `tls/name` of the program's configuration, or of the machine's; None without one."""
    name = os.path.join('tls', name)
    if process is not None:
        try:
            path = process.configuration.file(name)
        except AttributeError:  # an older release of python3-application
            path = process.config_file(name)
        if path is not None:
            return path
    path = os.path.join(thor.system_config_directory, name)
    return path if os.access(path, os.R_OK) else None


def _need(name):
    path = find(name)
    if path is None:
        raise RuntimeError('missing or unreadable file: tls/%s' % name)
    return path


def _read(path):
    with open(path, 'rb') as f:
        return f.read()


if _Credentials is not None:
    TLSContext = _Context

    class X509Credentials(_Credentials):
        """Certificate and key tls/NAME.crt and .key, authority tls/ca.pem and its list tls/crl.pem."""

        def __init__(self, cert_name):
            crl = find('crl.pem')
            super().__init__(
                X509Certificate(_read(_need(cert_name + '.crt'))), X509PrivateKey(_read(_need(cert_name + '.key'))),
                [X509Certificate(_read(_need('ca.pem')))], [X509CRL(_read(crl))] if crl else [])
            self.verify_peer = True
else:
    class X509Credentials:
        """Certificate and key tls/NAME.crt and .key, authority tls/ca.pem and its list tls/crl.pem."""

        verify_peer = True

        def __init__(self, cert_name):
            self.certificate = _need(cert_name + '.crt')
            self.private_key = _need(cert_name + '.key')
            self.authority = _need('ca.pem')
            self.revocations = find('crl.pem')

    class TLSContext:
        """Credentials as Twisted wants them for connectSSL. The files are read for each connection."""

        def __init__(self, credentials):
            self.credentials = credentials

        def getContext(self):
            from OpenSSL import SSL, crypto
            c = self.credentials
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_min_proto_version(SSL.TLS1_3_VERSION)
            context.use_certificate_chain_file(c.certificate)
            context.use_privatekey_file(c.private_key)
            context.load_verify_locations(c.authority)
            if c.revocations:
                store = context.get_cert_store()
                store.add_crl(crypto.load_crl(crypto.FILETYPE_PEM, _read(c.revocations)))
                store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _acceptable)
            return context


# X509_V_ERR_INVALID_PURPOSE: certificates of nodes are for clients, and nodes are each
# other's servers. Whom they name is checked instead.
_PURPOSE = 26


def _acceptable(connection, certificate, error, depth, ok):
    return bool(ok) or depth == 0 and error == _PURPOSE


class X509NameValidator:
    """Accepts subjects by their attributes: `O:Example, OU:*relay`, `None` for every one.

    A * at the beginning or the end of a value stands for any text. X509NameValidator('None')
    is None.
    """

    _attributes = {
        'O': 'organization', 'OU': 'organization_unit', 'CN': 'common_name', 'C': 'country', 'L': 'locality', 'ST': 'state', 'EMAIL': 'email',
    }

    def __new__(cls, text):
        return None if text.strip().lower() == 'none' else super().__new__(cls)

    def __init__(self, text):
        self.wanted = []
        for part in text.split(','):
            name, colon, value = part.strip().partition(':')
            name, value = name.strip().upper(), value.strip()
            if not colon or name not in self._attributes or '*' in value[1:-1]:
                raise ValueError('not of the form `O:text, OU:text`: %s' % part.strip())
            self.wanted.append((name, value))

    def validate(self, name):
        """Whether a subject, with attributes such as organization, is one."""
        return all(_matches(getattr(name, self._attributes[short], None), value) for short, value in self.wanted)


def _matches(text, value):
    if text is None:
        return False
    if value.startswith('*') and value.endswith('*') and len(value) > 1:
        return value[1:-1] in text
    if value.startswith('*'):
        return text.endswith(value[1:])
    if value.endswith('*'):
        return text.startswith(value[:-1])
    return text == value
