package sipprobe

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/emiago/sipgo/sip"

	"thor/overlay/check"
)

// registerFor is how long a registration lasts that no further probe renews, in seconds:
// the least that registrars commonly allow.
const registerFor = 60

// discardPort is where the contact of the test account is: nothing answers there, so that
// a call to the account ends and does not come back to the proxy.
const discardPort = 9

// Register registers a test account (RFC 3261 10), with digest authentication. All
// probes renew one contact, which is gone a minute after the last one.
type Register struct {
	*peer
	accepts func(int) bool
	aor     sip.Uri
	account account
	callID  string
	tag     string
	seq     uint32
}

// NewRegister makes a probe.
func NewRegister(c Config) (*Register, error) {
	p, err := newPeer(&c)
	if err != nil {
		return nil, err
	}
	aor, err := ParseAccount(c.Account)
	if err != nil {
		return nil, fmt.Errorf("account %w", err)
	}
	r := &Register{
		peer: p, accepts: c.Accepts, aor: aor, account: newAccount(&c, aor),
		callID: rand.Text() + "@thor", tag: rand.Text(),
	}
	if r.accepts == nil {
		r.accepts = func(code int) bool { return code < 300 }
	}
	return r, nil
}

// Name says what is asked of which service.
func (r *Register) Name() string { return r.name("register") }

// Probe implements check.Prober.
func (r *Register) Probe(ctx context.Context) error {
	defer r.endStream()
	registrar := sip.Uri{Scheme: "sip", Host: r.aor.Host}
	var proof sip.Header
	for tries := 0; ; tries++ {
		r.seq = next(r.seq)
		a, err := r.ask(ctx, &question{
			method: sip.REGISTER, to: registrar, aor: &r.aor, from: r.aor, transport: r.transport,
			prefix: r.callID, tag: r.tag, callID: r.callID, branch: newBranch(), seq: r.seq,
			more: func(local netip.AddrPort) []sip.Header { return r.headers(local, proof) },
		})
		switch {
		case err != nil:
			return err
		case !asked(a) || r.account.file == "":
			if !r.accepts(a.StatusCode) {
				return answered(a.StatusCode)
			}
			return nil
		case tries > 0 && !(tries == 1 && stale(a)):
			return &check.Fault{Text: refusedText}
		}
		if proof, err = r.account.answer(a, sip.REGISTER, registrar.String(), nil); err != nil {
			return err
		}
	}
}

func (r *Register) headers(local netip.AddrPort, proof sip.Header) []sip.Header {
	contact := sip.Uri{Scheme: "sip", User: r.aor.User, Host: hostOf(local), Port: discardPort}
	out := []sip.Header{
		&sip.ContactHeader{Address: contact},
		sip.NewHeader("Expires", strconv.Itoa(registerFor)),
	}
	if proof != nil {
		out = append(out, proof)
	}
	return out
}
