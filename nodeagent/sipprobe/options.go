package sipprobe

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"

	"github.com/emiago/sipgo/sip"
)

// Options asks with OPTIONS (RFC 3261 11).
type Options struct {
	*peer
	accepts     func(int) bool
	prefix, tag string // the same in all questions
	seq         uint32
}

// NewOptions makes a probe. A service that refuses is alive, since it speaks; one that
// says 503 asks not to be spoken to.
func NewOptions(c Config) (*Options, error) {
	p, err := newPeer(&c)
	if err != nil {
		return nil, err
	}
	o := &Options{peer: p, accepts: c.Accepts, prefix: rand.Text() + "-", tag: rand.Text()}
	if o.accepts == nil {
		o.accepts = func(code int) bool { return code != 503 }
	}
	return o, nil
}

// Name says what is asked of which service.
func (o *Options) Name() string { return o.name("options") }

// Probe implements check.Prober.
func (o *Options) Probe(ctx context.Context) error {
	defer o.endStream()
	o.seq = next(o.seq)
	a, err := o.ask(ctx, &question{
		method: sip.OPTIONS, to: o.uri, from: sip.Uri{Scheme: "sip", User: "thor"}, transport: o.transport,
		prefix: o.prefix, tag: o.tag, callID: fmt.Sprintf("%s%d@thor", o.prefix, o.seq), branch: newBranch(), seq: o.seq,
		more: func(netip.AddrPort) []sip.Header { return []sip.Header{sip.NewHeader("Accept", "application/sdp")} },
	})
	if err != nil {
		return err
	}
	if !o.accepts(a.StatusCode) {
		return answered(a.StatusCode)
	}
	return nil
}
