// Package doctor judges what was gathered of a network, in the order in which its
// parts depend on each other, and says what to do about each fault. It does no
// I/O: package gather fills in the Facts.
package doctor

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"thor/identity"
	"thor/subjects"
)

// A Level says how bad a finding is.
type Level string

const (
	OK      Level = "ok"
	Note    Level = "note"    // it works, and could be safer
	Fault   Level = "fault"   // it does not work
	Partial Level = "partial" // a part of the network is not heard here
)

// A Finding is one line of the report.
type Finding struct {
	Level  Level  `json:"level"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"` // what to do; of OK none
}

func ok(format string, args ...any) Finding { return Finding{OK, fmt.Sprintf(format, args...), ""} }

func fault(advice, format string, args ...any) Finding {
	return Finding{Fault, fmt.Sprintf(format, args...), advice}
}

// Faulty reports whether there is a fault.
func Faulty(fs []Finding) bool {
	for _, f := range fs {
		if f.Level == Fault {
			return true
		}
	}
	return false
}

// Degraded reports whether a part of the network is not heard.
func Degraded(fs []Finding) bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.Level == Partial })
}

// Facts are what was gathered.
type Facts struct {
	Now         time.Time
	Identity    *identity.Identity // of the certificate
	Certificate error              // why the certificate cannot be used
	Brokers     []Broker           // in the order of the configuration
	Network     *Network           // nil: no broker was reached
	Program     string             // version of the program that asks; empty: not told
	Config      []string           // problems of the configuration file, if one was named
}

// A Step is what a connection to a broker needs.
type Step int

const (
	Connected Step = iota // every step was made
	Parse
	Dial
	Handshake
	Accept // with TLS 1.3 a server refuses a certificate after the handshake
)

// A Broker is one that was tried, or the SRV record that names brokers.
type Broker struct {
	URL    string
	Failed Step // the step that failed, for Err
	Err    error
	Took   time.Duration

	SRV   string // the domain of an SRV record; empty: none
	Named int    // brokers that it names

	// Of one that was reached: what it greets with, and its certificate.
	Node    string
	Alone   bool // it says that it hears no other broker
	Leaf    *x509.Certificate
	Revoked bool
}

// Reached reports whether it makes sense to ask the network.
func Reached(bs []Broker) bool {
	for _, b := range bs {
		if b.SRV != "" || b.Failed == Connected {
			return true
		}
	}
	return false
}

// A Network is what was gathered through a connection.
type Network struct {
	Err         error            // there is no connection, and nothing below
	Clocks      *Clocks          // nil: not asked for, the certificate is no operator's
	Status      *subjects.Status // nil: none came, and nothing below
	Stale       bool             // no active manager confirms Status
	Connected   bool             // still, at the end
	Doubts      []string         // what of the network is not heard
	Bucket      *Bucket          // nil: not asked for, the certificate is no operator's
	NameServers []NameServer     // each that the status names
	Daemons     []Daemon         // those that answered; none: not asked for, the certificate is no operator's
}

// A Daemon is what one says of itself.
type Daemon struct {
	Unit        string // as in the name of its systemd unit: broker, manager, …
	Node        subjects.NodeID
	Certificate subjects.Validity // of the one in use
}

// Clocks are the brokers' answers to a ping.
type Clocks struct {
	Err   error // they could not be asked
	Asked time.Time
	Pongs []Pong
}

// A Pong is what a broker says of itself.
type Pong struct {
	Broker string
	Time   time.Time // by the broker's clock
	Came   time.Time // by ours
}

// A Bucket is the key-value bucket that managers write for those that start.
type Bucket struct {
	Err               error
	Empty             bool
	Damaged           error
	Epoch, Generation uint64
	Age               time.Duration
}

// A NameServer is the answer of one, at one moment.
type NameServer struct {
	Node    subjects.NodeID
	Address string // where it was asked, host:port
	Answer  string // the sets of the apex that are no random slices
	Err     error
}

// Diagnose is the report.
func Diagnose(f *Facts) []Finding {
	if f.Certificate != nil {
		return []Finding{fault("mend the files, or issue new ones (thor ca issue)", "%v", f.Certificate)}
	}
	fs := certificate(f.Identity, f.Now)
	for _, p := range f.Config {
		fs = append(fs, fault("mend the file: thor config check says the same; then restart the daemon", "%s", p))
	}
	for i := range f.Brokers {
		b := &f.Brokers[i]
		fs = append(append(fs, broker(b)), aside(b, f.Network)...)
		if !f.Network.told(b.Node) {
			fs = append(fs, ending(b, f.Now)...)
		}
	}
	if f.Network == nil {
		return fs
	}
	fs = append(fs, network(f.Network, f.Now)...)
	fs = append(fs, certificates(f.Network.Daemons, f.Now)...)
	if f.Network.Status != nil {
		fs = append(fs, versions(f.Network.Status, f.Program)...)
	}
	return fs
}

// certificate wants a quarter of the lifetime left, or a week of a long one.
func certificate(id *identity.Identity, now time.Time) []Finding {
	left := id.NotAfter.Sub(now)
	fs := []Finding{ok("certificate of %s for %s, roles %v, valid until %s (%s)", id.Node, id.Domain, id.Roles, id.NotAfter.Format(time.DateTime), rough(left))}
	if endsSoon(id.NotBefore, id.NotAfter, now) {
		fs = append(fs, fault("renew it now: thor ca renew, then send the daemon SIGHUP", "the certificate expires in %s", rough(left)))
	}
	return fs
}

// endsSoon reports whether less than a quarter of the lifetime is left, or a week of a long one.
func endsSoon(from, to, now time.Time) bool {
	return to.Sub(now) < min(7*24*time.Hour, to.Sub(from)/4)
}

// rough is d in days, in hours and minutes, or in seconds.
func rough(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	if d < time.Minute {
		return d.Round(time.Second).String()
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}

func broker(b *Broker) Finding {
	if b.SRV != "" {
		if b.Err != nil || b.Named == 0 {
			return fault("add it to the zone, or list the brokers by address", "no SRV record at _eventserver._tcp.%s: %v", b.SRV, b.Err)
		}
		return ok("%d brokers at _eventserver._tcp.%s", b.Named, b.SRV)
	}
	switch b.Failed {
	case Parse:
		return fault("write it like tls://192.0.2.1:4222", "%q is no broker", b.URL)
	case Dial:
		return fault("is the broker running, and the port open in the firewall?", "%s: %v", b.URL, b.Err)
	case Handshake:
		return fault("does the broker's certificate come from our CA, carry thor_eventserver and hold this address?", "%s: %v", b.URL, b.Err)
	case Accept:
		return fault("our certificate is refused: expired, revoked or from another CA; the broker's log says which", "%s: it ended the connection: %v", b.URL, b.Err)
	}
	return ok("%s answers after %d ms", b.URL, b.Took.Milliseconds())
}
