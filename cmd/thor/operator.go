package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/up"
	"thor/identity"
	"thor/overlay"
)

// outputFlag adds -o; commands that print data all have it.
func outputFlag(c *cobra.Command, dst *string) {
	c.Flags().StringVarP(dst, "output", "o", "table", "output `form`: table or json")
	inner := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if *dst != "table" && *dst != "json" {
			return usagef("-o %q is not table or json", *dst)
		}
		return inner(cmd, args)
	}
}

// reach is how an operator's command finds the network.
type reach struct {
	dir, config, cert, key, ca string
	brokers                    []string
	dns                        []string // of a thor up: where its name servers listen
	timeout                    time.Duration
}

func (r *reach) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&r.dir, "dir", os.Getenv("THOR_DIR"), "`directory` of a thor up (THOR_DIR)")
	f.StringVar(&r.config, "config", os.Getenv("THOR_CONFIG"), "configuration `file` of a daemon (THOR_CONFIG)")
	f.StringSliceVar(&r.brokers, "brokers", splitEnv("THOR_BROKERS"), "`list` of brokers, tls://HOST:PORT (THOR_BROKERS)")
	f.StringVar(&r.cert, "cert", os.Getenv("THOR_CERT"), "certificate `file` (THOR_CERT)")
	f.StringVar(&r.key, "key", os.Getenv("THOR_KEY"), "key `file` (THOR_KEY)")
	f.StringVar(&r.ca, "ca", os.Getenv("THOR_CA"), "CA certificate `file` (THOR_CA)")
	f.DurationVar(&r.timeout, "timeout", 5*time.Second, "how long to wait for the network")
}

func splitEnv(name string) []string {
	if v := os.Getenv(name); v != "" {
		return strings.Split(v, ",")
	}
	return nil
}

// resolve fills in what is not given: from a configuration file, or from the
// directory of a thor up, by default the one thor up itself would use.
func (r *reach) resolve() error {
	switch {
	case len(r.brokers) > 0:
		if r.cert == "" || r.key == "" || r.ca == "" {
			return usagef("--brokers needs --cert, --key and --ca (or THOR_CERT, THOR_KEY, THOR_CA)")
		}
	case r.config != "":
		f, err := config.Load(r.config)
		if err != nil {
			return err
		}
		r.brokers, r.cert, r.key, r.ca = f.Network.Brokers, f.Network.Certificate, f.Network.Key, f.Network.CA
	default:
		dir := r.dir
		if dir == "" {
			dir = up.DefaultDir()
		}
		n, err := up.ReadNetwork(filepath.Join(dir, up.NetworkFile))
		if err != nil {
			return usagef("no network found: give --dir of a thor up, --config, or --brokers with --cert, --key and --ca (%v)", err)
		}
		r.dns = n.DNS
		r.brokers, r.cert, r.key, r.ca = n.Brokers, n.Operator.Cert, n.Operator.Key, n.Operator.CA
	}
	return nil
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
	n, err := overlay.New(overlay.Config{Credentials: creds, Brokers: r.brokers, Log: zerolog.Nop()})
	if err != nil {
		return nil, usageError{err}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	s := &session{Node: n, deadline: time.Now().Add(r.timeout), end: func() error { cancel(); return <-done }}
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
	const todo = "is a thor broker running there? thor doctor checks each step"
	if why == nil {
		return fmt.Errorf("no broker answered within %s: tried %s; %s", r.timeout, strings.Join(r.brokers, ", "), todo)
	}
	return fmt.Errorf("no broker answered within %s: tried %s; the last said: %w; %s", r.timeout, strings.Join(r.brokers, ", "), why, todo)
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
