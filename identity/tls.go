package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"thor/subjects"
)

// ClientTLS is the configuration with which a node calls a broker. crypto/tls
// verifies the chain and the broker's host name or address; beyond that the
// broker must have the role thor_eventserver, be of our domain and not revoked
// as far as these credentials know: only brokers learn of revocations.
//
// The certificate is read anew at each handshake. The authorities are those of
// this call, for crypto/tls has no callback for them; nats.go has one, and a
// client that shall follow a change of authorities passes both:
//
//	nats.Secure(c.ClientTLS()), nats.ClientTLSConfig(nil, c.RootCAs)
//
// A configuration that skips the verification of crypto/tls and does its own
// could not do as much: crypto/tls does not tell VerifyConnection which IP
// address was called.
func (c *Credentials) ClientTLS() *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		RootCAs:              c.Roots(),
		GetClientCertificate: c.clientCertificate,
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := c.VerifyBroker(cs)
			return err
		},
	}
}

// RootCAs is Roots in the form nats.go calls at each connection attempt. The
// error is always nil.
func (c *Credentials) RootCAs() (*x509.CertPool, error) { return c.Roots(), nil }

// ServerTLS is the configuration with which a broker accepts nodes: each must
// show a certificate that [Credentials.Verify] accepts. Certificate and
// authorities are read anew at each handshake. Session tickets are off: a
// resumed session would be older than the last revocation.
func (c *Credentials) ServerTLS() *tls.Config {
	return c.accepting(func(cs tls.ConnectionState) error {
		_, err := c.Verify(cs)
		return err
	})
}

// OperatorTLS is the configuration with which a web view accepts browsers: as
// ServerTLS, and the certificate must have the role thor_operator.
func (c *Credentials) OperatorTLS() *tls.Config {
	return c.accepting(func(cs tls.ConnectionState) error {
		id, err := c.Verify(cs)
		if err == nil && !id.Has(subjects.Operator) {
			err = blame(cs.PeerCertificates[0], ErrNotOperator)
		}
		return err
	})
}

// RouteTLS is the configuration of connections between brokers, on both ends of
// which the certificate must have the role thor_eventserver. One value serves
// for accepting and for calling, as nats-server wants it.
//
// When calling, InsecureSkipVerify is set and VerifyConnection does the whole
// verification instead, so that a change of authorities needs no restart:
// chain, use, time, domain, role, revocation, and the name if the broker was
// called by name. A peer called by IP address is not held to it, since
// crypto/tls does not tell the address: a broker could then pass for another
// broker, which gains it nothing that a route does not have.
func (c *Credentials) RouteTLS() *tls.Config {
	t := c.accepting(func(cs tls.ConnectionState) error {
		_, err := c.VerifyBroker(cs)
		return err
	})
	t.GetClientCertificate = c.clientCertificate
	t.InsecureSkipVerify = true
	t.VerifyConnection = c.verifyCalledBroker
	return t
}

func (c *Credentials) verifyCalledBroker(cs tls.ConnectionState) error {
	if _, err := broker(c.Check(cs.PeerCertificates, x509.ExtKeyUsageServerAuth)); err != nil {
		return err
	}
	if cs.ServerName == "" {
		return nil
	}
	if err := cs.PeerCertificates[0].VerifyHostname(cs.ServerName); err != nil {
		return blame(cs.PeerCertificates[0], fmt.Errorf("%w: %v", ErrHost, err))
	}
	return nil
}

// accepting is a configuration whose fields the accepting side replaces at each
// handshake by those of the moment.
func (c *Credentials) accepting(verify func(tls.ConnectionState) error) *tls.Config {
	now := func() *tls.Config {
		m := c.now.Load()
		return &tls.Config{
			MinVersion:             tls.VersionTLS13,
			Certificates:           []tls.Certificate{*m.cert},
			ClientAuth:             tls.RequireAndVerifyClientCert,
			ClientCAs:              m.roots,
			SessionTicketsDisabled: true,
			VerifyConnection:       verify,
		}
	}
	t := now()
	t.Certificates = nil
	t.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.Certificate(), nil }
	t.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return now(), nil }
	return t
}

func (c *Credentials) clientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return c.Certificate(), nil
}
