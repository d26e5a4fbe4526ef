package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"thor/cmd/thor/internal/components"
	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/examine"
	"thor/cmd/thor/internal/pages"
	"thor/cmd/thor/internal/sdnotify"
	"thor/identity"
	"thor/overlay"
	"thor/overlay/audit"
)

// A daemon is what every long-running subcommand shares: its configuration,
// its identity, and the shell around its parts.
type daemon struct {
	section string       // of the file, and the subcommand's name
	file    *config.File // replaced by reload, which is the only one that reads it then
	creds   *identity.Credentials
	log     zerolog.Logger
	audit   *audit.Log
	metrics *prometheus.Registry
	net     *overlay.Node // nil for the broker

	inherited sdnotify.Files // what the supervisor kept for the process

	health   func() (reasons []string) // why it is degraded; nil is never
	onSignal func(os.Signal)           // SIGUSR1 and SIGUSR2; nil ignores them
	onReload func() error              // takes over the new file, at SIGHUP after the certificate; nil: nothing more
	reloads  prometheus.Gauge          // nil without metrics
	again    chan struct{}             // closed once an operator wants a restart
	askAgain func()                    // closes it
}

// A part is something that lives: Run blocks until ctx ends.
type part interface {
	Run(context.Context) error
	Ready() <-chan struct{}
}

// newDaemon makes the subcommand that runs a daemon from a configuration file.
func newDaemon(use, short, old string, build func(*daemon) (part, error)) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   use + " --config FILE",
		Short: short,
		Long: short + ".\n\nOn SIGHUP it re-reads its certificate and its configuration, and names what needs a restart to change;\n" +
			"a certificate that it has to refuse it reads again for a minute, in case its files are just being written;\n" +
			"on SIGTERM it leaves gracefully." + alsoKnown(old),
		Example: "  thor " + use + " --config /etc/thor/thor.toml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return usagef("--config FILE is missing")
			}
			if use != "broker" {
				endSampling()
			}
			d, err := loadDaemon(path, use, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			p, err := build(d)
			if err != nil {
				return err
			}
			return d.run(cmd.Context(), p)
		},
	}
	c.Flags().StringVar(&path, "config", os.Getenv("THOR_CONFIG"), "configuration `file` (THOR_CONFIG)")
	return c
}

// alsoKnown names the program of SIP Thor that a daemon replaces, if there was one.
func alsoKnown(old string) string {
	if old == "" {
		return ""
	}
	return " Also known as " + old + "."
}

func loadDaemon(path, section string, stderr io.Writer) (*daemon, error) {
	r := examine.Daemon(path, section, nil)
	if len(r.Problems) > 0 {
		return nil, r.Problems
	}
	f, creds := r.File, r.Credentials
	if err := os.MkdirAll(f.Network.StateDir, 0o700); err != nil {
		return nil, config.Problems{f.Problem("network.state", "make the state directory: %v", err)}
	}
	again := make(chan struct{})
	d := &daemon{
		section: section, file: f, creds: creds, log: newLogger(f.Log, stderr), inherited: sdnotify.Inherited(),
		again: again, askAgain: sync.OnceFunc(func() { close(again) }),
	}
	var err error
	if d.audit, err = openAudit(f, creds, section, d.log, stderr); err != nil {
		return nil, config.Problems{f.Problem("log.audit", "%v", err)}
	}
	d.warn(r.Others)
	if address, _ := f.Metrics(section); address != "" {
		d.measure()
	}
	return d, nil
}

// warn tells of mistakes in the sections of other daemons.
func (d *daemon) warn(others config.Problems) {
	for _, p := range others {
		d.log.Warn().Str("problem", p.String()).Msg("another daemon's section is wrong")
	}
}

// registerer is nil, not an interface around nil, when metrics are off.
func (d *daemon) registerer() prometheus.Registerer {
	if d.metrics == nil {
		return nil
	}
	return d.metrics
}

func newLogger(c config.Log, stderr io.Writer) zerolog.Logger {
	if c.Format == "console" || c.Format == "auto" && isTerminal(stderr) {
		stderr = zerolog.ConsoleWriter{Out: stderr, NoColor: os.Getenv("NO_COLOR") != "" || !isTerminal(stderr), TimeFormat: time.TimeOnly}
	}
	setLevel(c)
	ctx := zerolog.New(stderr).With()
	if os.Getenv("JOURNAL_STREAM") == "" { // the journal has its own clock
		ctx = ctx.Timestamp()
	}
	return ctx.Logger()
}

// unheardAfter is how old the last word of an active manager may be: ticks come
// each second, and another manager leads within some.
const unheardAfter = 5 * time.Second

// join makes the daemon's connection to the network; edit changes what the file says of it.
func (d *daemon) join(edit ...func(*overlay.Config)) error {
	c := d.file.Network.Config
	c.Credentials = d.creds
	c.Log = sdkLog(d.log)
	c.Audit = d.audit
	c.Metrics = d.registerer()
	for _, f := range edit {
		f(&c)
	}
	n, err := overlay.New(c)
	if err != nil {
		return err
	}
	d.net = n
	d.answerRestarts()
	d.health = func() (out []string) {
		v := n.View()
		if !v.Connected {
			out = append(out, "not connected to a broker")
		}
		if v.BrokerAlone {
			out = append(out, "the broker is cut off from the other brokers")
		}
		switch age := time.Since(n.Confirmed()); {
		case v.Stale:
			out = append(out, "network status is stale")
		case age >= unheardAfter:
			out = append(out, fmt.Sprintf("no active manager heard for %d s", int(age/time.Second)))
		}
		for _, f := range n.LookupFaults() {
			out = append(out, "lookup table differs: "+f)
		}
		out = append(out, n.Absences()...)
		return out
	}
	return nil
}

// addresses are the configured ones, or all of the certificate.
func (d *daemon) addresses(configured []netip.Addr) []netip.Addr {
	return components.Addresses(d.creds.Identity(), configured)
}

// run keeps p alive until ctx ends. p ends before the connection does, so that
// it can still leave the network.
func (d *daemon) run(ctx context.Context, p part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	if err := d.observe(ctx, &g, p); err != nil {
		return d.locate(err)
	}
	netCtx, endNet := context.WithCancel(context.WithoutCancel(ctx))
	defer endNet()
	g.Go(func() error {
		defer endNet()
		defer cancel()
		return p.Run(ctx)
	})
	if d.net != nil {
		g.Go(func() error {
			defer cancel()
			return d.net.Run(netCtx)
		})
	}
	g.Go(func() error {
		defer cancel()
		return d.awaitRestart(ctx)
	})
	g.Go(func() error { d.signals(ctx, p); return nil })
	g.Go(func() error { d.announceReady(ctx, p); return nil })
	err := g.Wait()
	sdnotify.Send("STOPPING=1")
	switch {
	case errors.Is(err, errRestart):
		d.log.Info().Msg("ended, to be started again")
		return err
	case err != nil:
		return d.locate(err)
	}
	d.log.Info().Msg("ended")
	return nil
}

// locate adds to the failure of a configured address where it is configured.
func (d *daemon) locate(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	for key, address := range d.file.Listens() {
		if strings.Contains(err.Error(), address) {
			return errors.New(d.file.Problem(key, "%v", err).String())
		}
	}
	return err
}

// announceReady tells systemd when the daemon does its job, and feeds the watchdog.
func (d *daemon) announceReady(ctx context.Context, p part) {
	select {
	case <-p.Ready():
	case <-ctx.Done():
		return
	}
	sdnotify.Send("READY=1")
	d.log.Info().Str("version", versionString()).Msg("ready")
	if err := pages.Release(); err != nil { // only costs memory
		d.log.Debug().Err(err).Msg("pages that only the start needed stay resident")
	}
	every := sdnotify.WatchdogInterval()
	if every == 0 {
		return
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			sdnotify.Send("WATCHDOG=1")
		case <-ctx.Done():
			return
		}
	}
}

// signals obeys SIGHUP and those the daemon knows besides. SIGPIPE is among
// them to be ignored: a daemon outlives the reader of its log.
func (d *daemon) signals(ctx context.Context, p part) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE)
	defer signal.Stop(c)
	var retry <-chan time.Time // nil: nothing is to be read again
	for tries := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-retry:
			retry = nil
			if tries++; d.retryCertificate(tries) {
				retry = time.After(certificateRetry)
			}
		case s := <-c:
			switch {
			case s == syscall.SIGPIPE:
				continue
			case s != syscall.SIGHUP:
				if d.onSignal != nil {
					d.onSignal(s)
				}
				continue
			}
			retry, tries = nil, 0
			if d.reload(p) {
				retry = time.After(certificateRetry)
			}
		}
	}
}
