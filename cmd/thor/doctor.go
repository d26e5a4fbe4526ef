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
	"thor/monitor/view"
)

// A finding is one line of the doctor's report.
type finding struct {
	ok   bool
	what string
	fix  string // what to do; empty when ok
}

func newDoctor() *cobra.Command {
	var r reach
	c := &cobra.Command{
		Use: "doctor", Short: "Find out why something does not work, and what to do",
		Long: "Check the certificate, each broker, the status and the name servers, in the order in which they depend on each other,\n" +
			"and say what to do about each fault. Exit 1 when there is one.",
		Example: "  thor doctor --config /etc/thor/node.toml", Args: cobra.NoArgs,
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
		if f.ok {
			fmt.Fprintf(w, "ok    %s\n", f.what)
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
	id := creds.Identity()
	left := time.Until(id.NotAfter)
	fs := []finding{{true, fmt.Sprintf("certificate of %s for %s, roles %v, valid for %d days", id.Node, id.Domain, id.Roles, int(left.Hours()/24)), ""}}
	if left < 7*24*time.Hour {
		fs = append(fs, finding{false, fmt.Sprintf("the certificate expires on %s", id.NotAfter.Format(time.DateTime)), "renew it now: thor ca renew, then SIGHUP"})
	}
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
	return append(fs, checkStatus(ctx, r)...)
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

func checkStatus(ctx context.Context, r *reach) []finding {
	s, err := r.open(ctx)
	if err != nil {
		return []finding{{false, err.Error(), "see the brokers' logs"}}
	}
	defer s.end()
	v, err := s.status(ctx)
	if err != nil {
		return []finding{{false, err.Error(), "start a manager, and see its log"}}
	}
	fs := []finding{{true, fmt.Sprintf("status of epoch %d, generation %d by %s", v.Status.Epoch, v.Status.Generation, v.Status.Manager), ""}}
	if skew := time.Until(v.Status.Time); skew > time.Minute {
		fs = append(fs, finding{false, fmt.Sprintf("the manager's clock is %s ahead of ours", skew.Round(time.Second)), "run NTP on both hosts; certificates depend on the time"})
	}
	if ok, reasons := view.Health(v.Status, v.Stale, v.Connected); !ok {
		for _, why := range reasons {
			fs = append(fs, finding{false, why, "see thor members and the node's log"})
		}
	}
	return fs
}
