package up

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Options says what network to run. Zero values are the defaults.
type Options struct {
	Dir          string        // default DefaultDir
	Domain       string        // default "thor.test"
	Nodes        int           // default 3
	DNS          string        // host:port of the first name server, the second has the next port; default 127.0.0.1:5354
	Loopback     string        // first two bytes of the addresses used; default "127.83"
	Binary       string        // the thor program
	RestartAfter time.Duration // 0: never
	Damping      bool          // hold back members that flap
	Version      string
	Say          func(format string, args ...any) // progress; required
}

const (
	brokers     = 3
	managers    = 3
	nameServers = 2
)

func (o *Options) defaults() error {
	if o.Dir == "" {
		o.Dir = DefaultDir()
	}
	if o.Domain == "" {
		o.Domain = "thor.test"
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.DNS == "" {
		o.DNS = "127.0.0.1:5354"
	}
	if o.Loopback == "" {
		o.Loopback = "127.83"
	}
	if o.Nodes < 1 || o.Nodes > 100 {
		return errors.New("nodes are 1 to 100")
	}
	if !strings.HasPrefix(o.Loopback, "127.") || net.ParseIP(o.Loopback+".0.1") == nil {
		return fmt.Errorf("%q is not the beginning of a loopback address, such as 127.83", o.Loopback)
	}
	if _, _, err := net.SplitHostPort(o.DNS); err != nil {
		return fmt.Errorf("%q is not host:port", o.DNS)
	}
	var err error
	o.Dir, err = filepath.Abs(o.Dir)
	return err
}

// Run runs the network until ctx ends. ready is called once everything is up
// and both name servers answer with every node.
func Run(ctx context.Context, o Options, ready func(*Network)) error {
	if err := o.defaults(); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	s := &supervisor{dir: o.Dir, restartAfter: o.RestartAfter, say: o.Say}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.serveControl(ctx); err != nil {
		return err
	}
	l := &layout{Options: o}
	if err := l.prepare(); err != nil {
		return err
	}
	s.children, s.net = l.children, l.net
	defer os.Remove(filepath.Join(o.Dir, NetworkFile))
	defer s.haltAll()
	if err := s.startAll(ctx); err != nil {
		return err
	}
	if err := awaitDNS(ctx, o, l.net.DNS); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if l.net.SOAP != nil {
		awaitProvisioning(ctx, o, l.net.HTTP["provisioning1"]+"/readyz")
	}
	if ctx.Err() != nil {
		return nil
	}
	ready(l.net)
	<-ctx.Done()
	return nil
}

// awaitDNS returns when each name server answers with all nodes, or as many as
// an answer holds.
func awaitDNS(ctx context.Context, o Options, servers []string) error {
	want := min(o.Nodes, 4)
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, server := range servers {
		for countSRV(server, "_sip._udp."+o.Domain+".") < want {
			if time.Now().After(deadline) {
				return fmt.Errorf("%s does not answer with %d nodes after 60 s: see the logs in %s", server, want, o.Dir)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	}
	return nil
}

// awaitProvisioning waits for the provisioning server, whose database takes its
// time when it is new. The network is of use without it: that it fails is told,
// and no more.
func awaitProvisioning(ctx context.Context, o Options, url string) {
	const most = 60 * time.Second
	awaitReady(ctx, []string{url}, most)
	if ctx.Err() == nil && !answers(ctx, url) {
		o.Say("the provisioning server is not ready after %s: see its log in %s", most, o.Dir)
	}
}

func countSRV(server, name string) int {
	var q dns.Msg
	q.SetQuestion(name, dns.TypeSRV)
	c := dns.Client{Timeout: 200 * time.Millisecond}
	r, _, err := c.Exchange(&q, server)
	if err != nil {
		return 0
	}
	return len(r.Answer)
}
