// Package gather asks the certificate, the brokers, the managers and the name
// servers what package doctor judges.
package gather

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/url"
	"strings"
	"time"

	"thor/cmd/thor/internal/doctor"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// A Target is the network to ask.
type Target struct {
	Files   identity.Files
	Brokers []string // tls://HOST:PORT, or srv:DOMAIN
	// NameServers are where name servers listen, by their port, if that is not where
	// they are announced: a thor up listens elsewhere.
	NameServers []string
	Connect     func(context.Context) (*Connection, error)
	Program     string   // see doctor.Facts
	Config      []string // see doctor.Facts
}

// A Connection is one to the network.
type Connection struct {
	Node   *overlay.Node
	Status func(context.Context) (*overlay.View, error) // one that came from the network
	// Doubts says what of the network is not heard, see view.Sight.
	Doubts func(context.Context, *subjects.Status) []string
	Close  func() error
	// Daemons asks the daemons of a status, as an operator may.
	Daemons func(context.Context, *subjects.Status) []doctor.Daemon
	// Revoked asks the revocation lists that the brokers hold.
	Revoked func(*x509.Certificate) bool
}

// Facts asks what depends on each other in turn, and nothing that cannot be asked.
func Facts(ctx context.Context, t Target) *doctor.Facts {
	f := &doctor.Facts{Now: time.Now(), Program: t.Program, Config: t.Config}
	creds, err := identity.Load(t.Files)
	if err != nil {
		f.Certificate = err
		return f
	}
	f.Identity = creds.Identity()
	for _, b := range t.Brokers {
		if domain, ok := strings.CutPrefix(b, "srv:"); ok {
			f.Brokers = append(f.Brokers, records(ctx, domain))
		} else {
			f.Brokers = append(f.Brokers, broker(ctx, creds, b))
		}
	}
	if !doctor.Reached(f.Brokers) {
		return f
	}
	var revoked func(*x509.Certificate) bool
	f.Network, revoked = network(ctx, t)
	for i := range f.Brokers {
		if b := &f.Brokers[i]; b.Leaf != nil && revoked != nil {
			b.Revoked = revoked(b.Leaf)
		}
	}
	return f
}

func records(ctx context.Context, domain string) doctor.Broker {
	_, addrs, err := net.DefaultResolver.LookupSRV(ctx, "eventserver", "tcp", domain)
	return doctor.Broker{SRV: domain, Named: len(addrs), Err: err}
}

// broker makes a TLS handshake and reads a byte.
func broker(ctx context.Context, creds *identity.Credentials, address string) doctor.Broker {
	b := doctor.Broker{URL: address}
	failed := func(at doctor.Step, err error) doctor.Broker {
		b.Failed, b.Err = at, err
		return b
	}
	u, err := url.Parse(address)
	if err != nil {
		return failed(doctor.Parse, err)
	}
	began := time.Now()
	d := net.Dialer{Timeout: 3 * time.Second}
	c, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return failed(doctor.Dial, err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	cfg := creds.ClientTLS()
	cfg.ServerName = u.Hostname()
	t := tls.Client(c, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return failed(doctor.Handshake, err)
	}
	line, err := bufio.NewReaderSize(t, maxGreeting).ReadSlice('\n')
	if err != nil {
		return failed(doctor.Accept, err)
	}
	b.Took = time.Since(began)
	if chain := t.ConnectionState().PeerCertificates; len(chain) > 0 {
		b.Leaf = chain[0]
	}
	greet(&b, line)
	return b
}

// maxGreeting is the length in bytes of the longest INFO that is read.
const maxGreeting = 32 << 10

// greet takes from the INFO of a broker what it says of itself.
func greet(b *doctor.Broker, line []byte) {
	_, body, _ := bytes.Cut(line, []byte("INFO "))
	var info map[string]json.RawMessage
	if json.Unmarshal(body, &info) != nil {
		return // no broker of ours; what depends on its name is not judged
	}
	_ = json.Unmarshal(info["server_name"], &b.Node)
	b.Alone = string(info[subjects.InfoAlone]) == "true"
}

// network asks through a connection of our own.
func network(ctx context.Context, t Target) (*doctor.Network, func(*x509.Certificate) bool) {
	c, err := t.Connect(ctx)
	if err != nil {
		return &doctor.Network{Err: err}, nil
	}
	defer c.Close()
	operator := c.Node.Identity().Has(subjects.Operator)
	n := &doctor.Network{}
	if operator {
		n.Clocks = clocks(ctx, c.Node.Conn())
	}
	v, err := c.Status(ctx)
	if err != nil {
		n.Doubts = c.Doubts(ctx, nil)
		return n, c.Revoked
	}
	n.Doubts = c.Doubts(ctx, v.Status)
	n.Status = v.Status
	n.Stale = v.Stale
	n.Connected = v.Connected
	if operator {
		n.Bucket = bucket(ctx, c.Node.Conn())
		n.Daemons = c.Daemons(ctx, v.Status)
	}
	n.NameServers = nameServers(ctx, v.Status, t.NameServers)
	return n, c.Revoked
}
