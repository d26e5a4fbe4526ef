package broker

import (
	"crypto/tls"
	"errors"

	"thor/identity"
)

// routeTLS, like the front, reads certificate, authorities and revocations anew
// at each handshake: a rotation needs no reload and ends no connection.
func (b *Broker) routeTLS() *tls.Config {
	t := b.cfg.Credentials.RouteTLS()
	called, accept := t.VerifyConnection, t.GetConfigForClient
	t.VerifyConnection = func(cs tls.ConnectionState) error { return b.gate.broker(cs, named(called)) }
	t.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		a, err := accept(hello)
		if err != nil {
			return nil, err
		}
		verify := a.VerifyConnection
		a.VerifyConnection = func(cs tls.ConnectionState) error { return b.gate.broker(cs, verify) }
		return a, nil
	}
	return t
}

// named adds crypto/x509's own error to a wrong host name: by that type
// nats-server notices that it called an address, which it has by hearsay, under
// the name of another broker, and tries again without a name.
func named(verify func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		err := verify(cs)
		if errors.Is(err, identity.ErrHost) {
			return errors.Join(err, cs.PeerCertificates[0].VerifyHostname(cs.ServerName))
		}
		return err
	}
}
