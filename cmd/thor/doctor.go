package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thor/identity"
)

// A finding is one line of the doctor's report.
type finding struct {
	ok   bool
	what string
	fix  string // what to do: about a fault, or, when ok, to be safer
}

func fine(format string, args ...any) finding { return finding{true, fmt.Sprintf(format, args...), ""} }

func newDoctor() *cobra.Command {
	var r reach
	c := &cobra.Command{
		Use: "doctor", Short: "Find out why something does not work, and what to do",
		Long: "Check the certificate, each broker, the clocks, the managers, the name servers and the key-value bucket, in the order\n" +
			"in which they depend on each other, and say what to do about each fault. Exit 1 when there is one; a note is none.\n" +
			"An operator's certificate sees more than another.",
		Example: "  thor doctor --config /etc/thor/thor.toml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.resolve(); err != nil {
				return err
			}
			if !report(cmd.OutOrStdout(), diagnose(cmd.Context(), &r)) {
				return fmt.Errorf("there are faults, see above")
			}
			return nil
		},
	}
	r.flags(c)
	return c
}

func report(w io.Writer, fs []finding) bool {
	good := true
	for _, f := range fs {
		if f.ok && f.fix == "" {
			fmt.Fprintf(w, "ok    %s\n", f.what)
			continue
		}
		if f.ok {
			fmt.Fprintf(w, "note  %s\n      -> %s\n", f.what, f.fix)
			continue
		}
		good = false
		fmt.Fprintf(w, "FAULT %s\n      -> %s\n", f.what, f.fix)
	}
	return good
}

func diagnose(ctx context.Context, r *reach) []finding {
	creds, err := identity.Load(identity.Files{Cert: r.cert, Key: r.key, CA: r.ca})
	if err != nil {
		return []finding{{false, err.Error(), "mend the files, or issue new ones (thor ca issue)"}}
	}
	fs := checkCertificate(creds.Identity(), time.Now())
	reached := 0
	for _, b := range r.brokers {
		if strings.HasPrefix(b, "srv:") {
			fs = append(fs, checkSRV(ctx, strings.TrimPrefix(b, "srv:")))
			reached++
			continue
		}
		f := checkBroker(ctx, creds, b)
		if f.ok {
			reached++
		}
		fs = append(fs, f)
	}
	if reached == 0 {
		return fs
	}
	return append(fs, checkNetwork(ctx, r)...)
}

// checkCertificate wants a quarter of the lifetime left, or a week of a long one.
func checkCertificate(id *identity.Identity, now time.Time) []finding {
	left := id.NotAfter.Sub(now)
	fs := []finding{fine("certificate of %s for %s, roles %v, valid until %s (%s)", id.Node, id.Domain, id.Roles, id.NotAfter.Format(time.DateTime), rough(left))}
	if left < min(7*24*time.Hour, id.NotAfter.Sub(id.NotBefore)/4) {
		fs = append(fs, finding{false, fmt.Sprintf("the certificate expires in %s", rough(left)), "renew it now: thor ca renew, then send the daemon SIGHUP"})
	}
	return fs
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

func checkSRV(ctx context.Context, domain string) finding {
	_, addrs, err := net.DefaultResolver.LookupSRV(ctx, "eventserver", "tcp", domain)
	if err != nil || len(addrs) == 0 {
		return finding{false, fmt.Sprintf("no SRV record at _eventserver._tcp.%s: %v", domain, err), "add it to the zone, or list the brokers by address"}
	}
	return finding{true, fmt.Sprintf("%d brokers at _eventserver._tcp.%s", len(addrs), domain), ""}
}

// checkBroker makes a TLS handshake and reads a byte: with TLS 1.3 a server
// refuses a certificate only after the client believes itself connected.
func checkBroker(ctx context.Context, creds *identity.Credentials, broker string) finding {
	u, err := url.Parse(broker)
	if err != nil {
		return finding{false, fmt.Sprintf("%q is no broker", broker), "write it like tls://192.0.2.1:4222"}
	}
	began := time.Now()
	d := net.Dialer{Timeout: 3 * time.Second}
	c, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return finding{false, fmt.Sprintf("%s: %v", broker, err), "is the broker running, and the port open in the firewall?"}
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	cfg := creds.ClientTLS()
	cfg.ServerName = u.Hostname()
	t := tls.Client(c, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return finding{false, fmt.Sprintf("%s: %v", broker, err), "does the broker's certificate come from our CA, carry thor_eventserver and hold this address?"}
	}
	var b [1]byte
	if _, err := t.Read(b[:]); err != nil {
		return finding{false, fmt.Sprintf("%s: it ended the connection: %v", broker, err), "our certificate is refused: expired, revoked or from another CA; the broker's log says which"}
	}
	return finding{true, fmt.Sprintf("%s answers after %d ms", broker, time.Since(began).Milliseconds()), ""}
}
