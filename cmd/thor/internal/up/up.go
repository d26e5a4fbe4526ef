package up

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Options says what network to run. All but Damping, PowerDNS, Galera, Sites and RestartAfter is required.
type Options struct {
	Dir          string
	Domain       string
	Nodes        int                              // 1 to 100
	DNS          string                           // host:port of the first name server, the second has the next port
	Loopback     string                           // first two bytes of the addresses used
	Binary       string                           // the thor program
	RestartAfter time.Duration                    // 0: never
	Damping      bool                             // hold back members that flap
	PowerDNS     bool                             // a PowerDNS beside each name server, at the ports after theirs
	Galera       bool                             // three databases that are one cluster
	Sites        []string                         // over which its processes are spread, in turn; empty: there are none
	Say          func(format string, args ...any) // progress
}

const (
	brokers     = 3
	managers    = 3
	nameServers = 2

	nodeNet = 20 // the third byte of the nodes' addresses
)

// Check tells what is wrong with the options.
func (o *Options) Check() error {
	if o.Dir == "" {
		return errors.New("there is no directory for the network")
	}
	if o.Nodes < 1 || o.Nodes > 100 {
		return fmt.Errorf("%d nodes are not 1 to 100", o.Nodes)
	}
	if !strings.HasPrefix(o.Loopback, "127.") || net.ParseIP(o.Loopback+".0.1") == nil {
		return fmt.Errorf("%q is not the beginning of a loopback address, such as 127.83", o.Loopback)
	}
	if o.RestartAfter < 0 {
		return fmt.Errorf("--restart-after %s is negative; 0 is never", o.RestartAfter)
	}
	if err := o.checkSites(); err != nil {
		return err
	}
	if err := o.checkDNS(); err != nil {
		return err
	}
	switch {
	case o.PowerDNS && o.Galera:
		return errors.New("--powerdns needs a database of its own: leave out --galera")
	case o.PowerDNS:
		return checkPowerDNS()
	case o.Galera:
		return checkGalera()
	}
	return nil
}

// checkDNS wants a host of this machine, and a port for each name server.
func (o *Options) checkDNS() error {
	host, port, err := net.SplitHostPort(o.DNS)
	if err != nil {
		return fmt.Errorf("%q is not host:port", o.DNS)
	}
	if first, err := strconv.Atoi(port); err != nil || first < 1 || first+len(o.dnsAddresses())-1 > 65535 {
		return fmt.Errorf("%q is no port for the name servers", port)
	}
	if host == "" {
		return fmt.Errorf("--dns %q names no host", o.DNS)
	}
	if err := bindable(net.JoinHostPort(host, "0"), "udp"); err != nil {
		return fmt.Errorf("--dns %s is no address of this machine: %w", o.DNS, err)
	}
	return nil
}

// nameServerAddresses are host:port of each name server. The option is checked.
func (o *Options) nameServerAddresses() []string { return o.dnsAddresses()[:nameServers] }

// powerDNSAddresses are host:port of each PowerDNS.
func (o *Options) powerDNSAddresses() []string { return o.dnsAddresses()[nameServers:] }

// dnsAddresses are host:port of all that answers DNS.
func (o *Options) dnsAddresses() (out []string) {
	host, port, _ := net.SplitHostPort(o.DNS)
	first, _ := strconv.Atoi(port)
	n := nameServers
	if o.PowerDNS {
		n += nameServers
	}
	for i := range n {
		out = append(out, net.JoinHostPort(host, strconv.Itoa(first+i)))
	}
	return out
}

// Run runs the network until ctx ends. ready is called once everything is up
// and both name servers answer with every node, from a status of this run.
func Run(ctx context.Context, o Options, ready func(*Network)) error {
	err := o.Check()
	if err != nil {
		return err
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	release, err := o.takeClaims()
	if err != nil {
		return err
	}
	defer release()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	if err := trust(o.Dir); err != nil {
		return err
	}
	s := &supervisor{dir: o.Dir, restartAfter: o.RestartAfter, say: o.Say}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.serveControl(ctx); err != nil {
		return err
	}
	crashed := endLeftovers(o.Dir, o.Say)
	if crashed {
		if err := forgetStatus(o.Dir); err != nil {
			return err
		}
	}
	if err := o.awaitFree(ctx, crashed); err != nil {
		return err
	}
	l := &layout{Options: o}
	if err := l.prepare(); err != nil {
		return err
	}
	s.children, s.net = l.children, l.net
	defer os.Remove(filepath.Join(o.Dir, NetworkFile))
	defer s.haltAll()
	err = s.startAll(ctx)
	if err == nil {
		err = awaitDNS(ctx, o, l.net)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
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

// awaitDNS returns when each name server has the present status and answers with
// all nodes, or as many as an answer holds. One that has not heard of a manager
// yet would answer with the nodes of an earlier run.
func awaitDNS(ctx context.Context, o Options, n *Network) error {
	want := min(o.Nodes, 4)
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i, server := range n.DNS {
		health := fmt.Sprintf("%s/readyz", n.HTTP[fmt.Sprintf("dns%d", i+1)])
		for !well(ctx, health) || countSRV(server, "_sip._udp."+o.Domain+".") < want {
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
	return awaitPowerDNS(ctx, o, n, deadline)
}

// awaitPowerDNS returns when each PowerDNS answers as the name servers do.
func awaitPowerDNS(ctx context.Context, o Options, n *Network, deadline time.Time) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, server := range n.PowerDNS {
		for countSRV(server, "_sip._udp."+o.Domain+".") < min(o.Nodes, 4) {
			if time.Now().After(deadline) {
				return fmt.Errorf("PowerDNS at %s does not answer with the nodes after 60 s: see the logs in %s", server, o.Dir)
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
	awaitAll(ctx, []string{url}, most, well)
	if ctx.Err() == nil && !well(ctx, url) {
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
