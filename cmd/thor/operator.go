package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/up"
	"thor/identity"
	"thor/overlay"
)

// reach is how an operator's command finds the network. Each field is that of a
// flag until resolve has run, and is what to use then.
type reach struct {
	dir, config, cert, key, ca string
	brokers                    []string
	dns                        []string // of a thor up: where its name servers listen
	timeout                    time.Duration
	changed                    func(flag string) bool
	resolved                   bool
}

func (r *reach) flags(c *cobra.Command) {
	f := c.Flags()
	r.changed = f.Changed
	f.StringVar(&r.dir, "dir", "", "`directory` of a thor up (THOR_DIR)")
	f.StringVar(&r.config, "config", "", "configuration `file` of a daemon (THOR_CONFIG)")
	f.StringSliceVar(&r.brokers, "brokers", nil, "`list` of brokers, tls://HOST:PORT (THOR_BROKERS)")
	f.StringVar(&r.cert, "cert", "", "certificate `file` (THOR_CERT)")
	f.StringVar(&r.key, "key", "", "key `file` (THOR_KEY)")
	f.StringVar(&r.ca, "ca", "", "CA certificate `file` (THOR_CA)")
	f.DurationVar(&r.timeout, "timeout", 5*time.Second, "how long to wait for the network")
}

// resolve finds the network by the flags, or, when none of them names one, by
// the environment: a variable that was set for one network never takes a
// command to it that was given another. By default it is the network of thor up.
func (r *reach) resolve() error {
	if r.resolved {
		return nil
	}
	var given []string // what an empty value names is nothing, and not what the environment names
	for flag, value := range map[string]string{"--brokers": strings.Join(r.brokers, ""), "--config": r.config, "--dir": r.dir} {
		if !r.changed(flag[2:]) {
			continue
		}
		if value == "" {
			return usagef("%s is empty", flag)
		}
		given = append(given, flag)
	}
	if len(given) > 1 {
		slices.Sort(given)
		return usagef("%s each name a network: give one of them", strings.Join(given, " and "))
	}
	if len(given) == 0 {
		if v := os.Getenv("THOR_BROKERS"); v != "" {
			r.brokers = strings.Split(v, ",")
		} else if r.config = os.Getenv("THOR_CONFIG"); r.config == "" {
			r.dir = os.Getenv("THOR_DIR")
		}
	}
	err := r.find(len(given) == 0)
	r.resolved = err == nil
	return err
}

// reachFlags name the network, each with what it says.
func (r *reach) reachFlags() map[string]string {
	return map[string]string{
		"dir": r.dir, "config": r.config, "brokers": strings.Join(r.brokers, ","), "cert": r.cert, "key": r.key, "ca": r.ca,
	}
}

// again are the flags by which a command in another shell reaches this network, quoted, with a
// blank before each: those that were given, or what the environment names, files by their whole
// paths. It is called before resolve.
func (r *reach) again() string {
	use := make(map[string]string)
	for name, v := range r.reachFlags() {
		if r.changed(name) {
			use[name] = v
		}
	}
	environment := false
	if use["brokers"] == "" && use["config"] == "" && use["dir"] == "" {
		for _, name := range []string{"brokers", "config", "dir"} { // in the order of resolve
			if v := os.Getenv("THOR_" + strings.ToUpper(name)); v != "" {
				use[name], environment = v, true
				break
			}
		}
	}
	if use["brokers"] != "" || use["config"] != "" && environment {
		for _, name := range []string{"cert", "key", "ca"} {
			if v := os.Getenv("THOR_" + strings.ToUpper(name)); v != "" && use[name] == "" {
				use[name] = v
			}
		}
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(use)) {
		v := use[name]
		if whole, err := filepath.Abs(v); err == nil && name != "brokers" {
			v = whole
		}
		fmt.Fprintf(&out, " --%s %s", name, up.ShellWord(v))
	}
	return out.String()
}

// find fills in what belongs to the network that is named; environment tells
// whether the environment named it.
func (r *reach) find(environment bool) error {
	switch {
	case len(r.brokers) > 0:
		r.certificate(os.Getenv("THOR_CERT"), os.Getenv("THOR_KEY"), os.Getenv("THOR_CA"))
		if r.cert == "" || r.key == "" || r.ca == "" {
			return usagef("--brokers needs --cert, --key and --ca (or THOR_CERT, THOR_KEY, THOR_CA)")
		}
		return nil
	case r.config != "":
		n, err := config.Reach(r.config, environment)
		if err != nil {
			return err
		}
		r.brokers = n.Brokers
		r.certificate(n.Cert, n.Key, n.CA)
		return nil
	case r.cert != "" || r.key != "" || r.ca != "":
		return usagef("--cert, --key and --ca are for --brokers or --config: the network of thor up has its own")
	}
	dir := r.dir
	if dir == "" {
		dir = up.DefaultDir()
	}
	n, err := up.ReadNetwork(filepath.Join(dir, up.NetworkFile))
	if err != nil {
		return usagef("no network found: give --dir of a thor up, --config, or --brokers with --cert, --key and --ca (%v)", err)
	}
	r.dns = n.DNS
	r.brokers = n.Brokers
	r.cert = n.Operator.Cert
	r.key = n.Operator.Key
	r.ca = n.Operator.CA
	return nil
}

// certificate fills in what no flag gives.
func (r *reach) certificate(cert, key, ca string) {
	r.cert = cmp.Or(r.cert, cert)
	r.key = cmp.Or(r.key, key)
	r.ca = cmp.Or(r.ca, ca)
}

// credentials loads the certificate to work with; a fault of it is one of usage.
func (r *reach) credentials() (*identity.Credentials, error) {
	creds, err := identity.Load(identity.Files{Cert: r.cert, Key: r.key, CA: r.ca})
	if err != nil {
		return nil, usageError{err}
	}
	return creds, nil
}

// session is a connection made for one command.
type session struct {
	*overlay.Node
	creds    *identity.Credentials
	deadline time.Time // of the whole command's waiting for the network
	end      func() error
}

// open connects, and fails with one clear line when no broker answers in time.
func (r *reach) open(ctx context.Context) (*session, error) {
	if err := r.resolve(); err != nil {
		return nil, err
	}
	if r.timeout <= 0 {
		return nil, usagef("--timeout %s is not above 0", r.timeout)
	}
	creds, err := r.credentials()
	if err != nil {
		return nil, err
	}
	n, err := overlay.New(overlay.Config{Credentials: creds, Brokers: r.brokers})
	if err != nil {
		return nil, usageError{err}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	s := &session{Node: n, creds: creds, deadline: time.Now().Add(r.timeout), end: func() error { cancel(); return <-done }}
	t := time.NewTimer(r.timeout)
	defer t.Stop()
	select {
	case <-n.Ready():
		return s, nil
	case err := <-done:
		cancel()
		return nil, errors.Join(err, context.Cause(ctx))
	case <-ctx.Done():
		_ = s.end()
		return nil, context.Cause(ctx)
	case <-t.C:
		why := n.ConnectError()
		_ = s.end()
		return nil, r.unreachable(why)
	}
}

// unreachable says what to do when no broker answered.
func (r *reach) unreachable(why error) error {
	const advice = "is a thor broker running there? thor doctor checks each step"
	if why == nil {
		return fmt.Errorf("no broker answered within %s: tried %s; %s", r.timeout, strings.Join(r.brokers, ", "), advice)
	}
	return fmt.Errorf("no broker answered within %s: tried %s; the last said: %w; %s", r.timeout, strings.Join(r.brokers, ", "), why, advice)
}

// status waits for a status that came from the network.
func (s *session) status(ctx context.Context) (*overlay.View, error) {
	waiting, cancel := context.WithDeadline(ctx, s.deadline)
	defer cancel()
	for v := range s.Watch(waiting) {
		if v.Status != nil && !v.FromDisk {
			return v, nil
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, errors.New("connected to a broker, but no manager told a status in time: is a thor manager running? thor doctor looks for it")
}
