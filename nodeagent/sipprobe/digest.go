package sipprobe

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"thor/nodeagent/password"
	"thor/overlay/check"
)

// Faults of a test account.
const (
	refusedText  = "refuses the password of the test account"
	passwordText = "the password file of the test account cannot be read"
	methodText   = "asks for a password in a way that is not known"
)

// An account answers what servers ask of it (RFC 8760).
type account struct {
	user string
	file string // that holds the password; empty: it has none
}

func newAccount(c *Config, uri sip.Uri) account {
	if c.AuthUser != "" {
		return account{c.AuthUser, c.PasswordFile}
	}
	return account{uri.User, c.PasswordFile}
}

// asked reports whether a is the question for a password.
func asked(a *sip.Response) bool { return a.StatusCode == 401 || a.StatusCode == 407 }

// stale reports whether a refuses a password only since its nonce has become old.
func stale(a *sip.Response) bool {
	c, _, err := challenge(a)
	return err == nil && c.Stale
}

// challenge is what a asks for, the first kind of digest that is known, and the header
// in which the answer belongs.
func challenge(a *sip.Response) (*digest.Challenge, string, error) {
	in, out := "WWW-Authenticate", "Authorization"
	if a.StatusCode == 407 {
		in, out = "Proxy-Authenticate", "Proxy-Authorization"
	}
	for _, h := range a.GetHeaders(in) {
		c, err := digest.ParseChallenge(h.Value())
		if err != nil {
			continue
		}
		for i := range c.QOP {
			c.QOP[i] = strings.TrimSpace(c.QOP[i])
		}
		if digest.CanDigest(c) {
			return c, out, nil
		}
	}
	return nil, "", &check.Fault{Text: methodText, Cause: fmt.Errorf("status %d without a digest that is known", a.StatusCode)}
}

// answer is the header that proves the password to the server that answered a.
func (u account) answer(a *sip.Response, method sip.RequestMethod, uri string, body []byte) (sip.Header, error) {
	c, name, err := challenge(a)
	if err != nil {
		return nil, err
	}
	secret, err := password.Read(u.file)
	if err != nil {
		return nil, &check.Fault{Text: passwordText, Cause: err}
	}
	cred, err := digest.Digest(c, digest.Options{
		Method: string(method), URI: uri, Username: u.user, Password: secret, Count: 1,
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	})
	if err != nil {
		return nil, &check.Fault{Text: methodText, Cause: err}
	}
	return sip.NewHeader(name, cred.String()), nil
}
