package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"thor/overlay/connlimit"
)

// measure makes the registry with what every daemon tells of itself.
func (d *daemon) measure() {
	d.metrics = prometheus.NewRegistry()
	d.countReloads()
	d.metrics.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newGaugeOf("thor_build_info", "1, with the version of thor, of Go, and the subcommand.", prometheus.Labels{
			"version": versionString(), "goversion": runtime.Version(), "daemon": d.section,
		}, func() float64 { return 1 }),
		newGaugeOf("thor_certificate_expiry_timestamp_seconds", "When the certificate in use ends, in Unix time.", nil, func() float64 {
			return float64(d.creds.Identity().NotAfter.Unix())
		}),
		newGaugeOf("thor_certificate_start_timestamp_seconds", "When the certificate in use began, in Unix time.", nil, func() float64 {
			return float64(d.creds.Identity().NotBefore.Unix())
		}),
	)
}

func newGaugeOf(name, help string, labels prometheus.Labels, f func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, f)
}

// readiness is whether the daemon does its job, and why it does not do it fully.
func (d *daemon) readiness(p part) (ready bool, reasons []string) {
	select {
	case <-p.Ready():
	default:
		return false, []string{"starting"}
	}
	if d.health != nil {
		reasons = d.health()
	}
	return true, reasons // degraded is still ready: it serves what it knows
}

// measurePart adds what the daemon tells of its part.
func (d *daemon) measurePart(p part) {
	d.metrics.MustRegister(
		newGaugeOf("thor_ready", "1 once the daemon does its job, see /readyz.", nil, func() float64 {
			ready, _ := d.readiness(p)
			return number(ready)
		}),
		newGaugeOf("thor_degraded_reasons", "Reasons for which the daemon does not do all of its job now, see /readyz.", nil, func() float64 {
			_, reasons := d.readiness(p)
			return float64(len(reasons))
		}),
	)
}

// observeRetry is how often a default address is tried again that another program has.
const observeRetry = 10 * time.Second

// observe serves metrics and health until ctx ends, if the file says so. An address
// that the file names must be free. The default one may be taken, by another daemon
// of the same kind on the machine: then the daemon works without, and tries again.
func (d *daemon) observe(ctx context.Context, g *errgroup.Group, p part) error {
	address, key := d.file.Metrics(d.section)
	if address == "" {
		return nil
	}
	d.measurePart(p)
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		d.serveHTTP(ctx, g, l, p)
		return nil
	case d.file.Set(key) || !errors.Is(err, syscall.EADDRINUSE):
		return err
	}
	d.log.Error().Err(err).Str("key", key).Msg("no metrics and health: the default address is taken, retrying")
	g.Go(func() error { d.serveLater(ctx, g, address, observeRetry, p); return nil })
	return nil
}

// serveLater tries again until the address is free.
func (d *daemon) serveLater(ctx context.Context, g *errgroup.Group, address string, every time.Duration, p part) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		if l, err := net.Listen("tcp", address); err == nil {
			d.log.Info().Str("addr", address).Msg("metrics and health are served")
			d.serveHTTP(ctx, g, l, p)
			return
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// serveHTTP answers /metrics, /livez, /readyz and / until ctx ends.
func (d *daemon) serveHTTP(ctx context.Context, g *errgroup.Group, l net.Listener, p part) {
	srv := &http.Server{
		Handler: d.pages(p), ReadTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		ErrorLog: stdlog.New(io.Discard, "", 0), // of what clients do wrong, and each accept that fails
	}
	var once sync.Once
	end := func() { once.Do(func() { _ = srv.Close() }) }
	g.Go(func() error { <-ctx.Done(); end(); return nil })
	g.Go(func() error {
		if err := connlimit.New(connlimit.Pages, connlimit.PagesOfPeer).Serve(srv, l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve metrics: %w", err)
		}
		return nil
	})
}

func (d *daemon) pages(p part) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, true, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ready, reasons := d.readiness(p)
		writeHealth(w, ready, reasons)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { d.writeIndex(w, p) })
	return mux
}

func writeHealth(w http.ResponseWriter, ready bool, reasons []string) {
	w.Header().Set("Content-Type", "application/json")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if reasons == nil {
		reasons = []string{}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": ready, "reasons": reasons})
}

// writeIndex answers with the page at /, for people.
func (d *daemon) writeIndex(w http.ResponseWriter, p part) {
	ready, reasons := d.readiness(p)
	id := d.creds.Identity()
	esc := func(v any) string { return html.EscapeString(fmt.Sprint(v)) }
	state := "Ready."
	switch {
	case !ready:
		state = "Not ready:"
	case len(reasons) > 0:
		state = "Ready, degraded:"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"+
		"<title>thor %s on %s</title></head><body>\n<h1>thor %[1]s</h1>\n", esc(d.section), esc(id.Node))
	fmt.Fprintf(&b, "<p>Node %s of %s, version %s, certificate valid until %s.</p>\n<p><strong>%s</strong></p>\n<ul>",
		esc(id.Node), esc(id.Domain), esc(versionString()), id.NotAfter.UTC().Format(time.RFC3339), state)
	for _, r := range reasons {
		fmt.Fprintf(&b, "<li>%s</li>", esc(r))
	}
	b.WriteString("</ul>\n<ul>\n<li><a href=\"metrics\">/metrics</a>: for Prometheus</li>\n<li><a href=\"livez\">/livez</a>: 200 while the process answers</li>\n" +
		"<li><a href=\"readyz\">/readyz</a>: 200 once the daemon does its job, with the reasons if it is degraded</li>\n</ul></body></html>\n")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, b.String()) // who hung up needs no answer
}
