package main

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/examine"
	"thor/cmd/thor/internal/sdnotify"
	"thor/overlay/audit"
)

// A certificate that was refused is read again: it may have been written just then, by
// who copies files one after the other.
const (
	certificateRetry = 2 * time.Second
	certificateTries = 30
)

// reload re-reads the certificate and the configuration. Each is taken or
// refused by itself: a mistake in the file is no reason to let a certificate
// expire. What is refused leaves in use what was read before. again says that the
// certificate was refused, and is to be read again.
func (d *daemon) reload(p part) (again bool) {
	sdnotify.Reloading()
	certificate := d.reloadCertificate()
	file, detail := d.reloadFile()
	good := certificate && file
	if !certificate {
		detail = "the certificate was refused; " + detail
	}
	d.audit.Write(audit.Entry{Who: audit.Local, Act: audit.Reload, What: d.file.Path, Outcome: outcome(good), Detail: detail})
	d.reloaded(good)
	select {
	case <-p.Ready():
		sdnotify.Send("READY=1")
	default: // announceReady will say so
	}
	return !certificate
}

// retryCertificate reads the certificate again after it was refused, the n-th time, and
// reports whether to do so once more.
func (d *daemon) retryCertificate(n int) (again bool) {
	err := d.creds.Reload()
	switch {
	case err == nil:
		d.log.Info().Time("not_after", d.creds.Identity().NotAfter).Msg("certificate re-read")
		good, detail := d.reloadFile() // it may need what the certificate allows now
		d.audit.Write(audit.Entry{Who: audit.Local, Act: audit.Reload, What: d.file.Path, Outcome: outcome(good), Detail: "the certificate that was refused before; " + detail})
		d.reloaded(good)
		return false
	case n >= certificateTries:
		d.log.Error().Err(err).Msg("certificate refused for a minute, the old one stays in use until the next SIGHUP")
		return false
	}
	return true
}

func (d *daemon) reloadCertificate() (good bool) {
	if err := d.creds.Reload(); err != nil {
		d.log.Error().Err(err).Msg("reload refused, the old certificate stays in use")
		return false
	}
	d.log.Info().Time("not_after", d.creds.Identity().NotAfter).Msg("certificate re-read")
	return true
}

// reloadFile takes over what may change at run time and names what may not, in
// the log and as detail of the audit entry.
func (d *daemon) reloadFile() (good bool, detail string) {
	r := examine.Daemon(d.file.Path, d.section, d.creds)
	next := r.File
	d.warn(r.Others)
	if len(r.Problems) > 0 {
		for _, p := range r.Problems {
			d.log.Error().Str("problem", p.String()).Msg("reload refused, the old configuration stays in use")
		}
		return false, "the file was refused"
	}
	before := d.file
	now, changed, restart := before.Reload(next, d.section)
	for _, key := range restart {
		d.log.Error().Str("key", key).Str("at", next.Place(key)).Msg("not changed: this key needs a restart")
	}
	d.file = now
	setLevel(now.Log)
	if d.onReload != nil {
		if err := d.onReload(); err != nil {
			d.file = before
			setLevel(before.Log)
			d.log.Error().Err(err).Msg("reload refused, the old configuration stays in use")
			return false, "the file was refused"
		}
	}
	d.log.Info().Strs("changed", changed).Msg("configuration re-read")
	detail = fmt.Sprintf("changed: %v", changed)
	if len(restart) > 0 {
		detail += fmt.Sprintf(", needs a restart: %v", restart)
	}
	return len(restart) == 0, detail
}

// reloaded shows the outcome as a metric, if there are any.
func (d *daemon) reloaded(good bool) {
	if d.reloads == nil {
		return
	}
	v := 0.0
	if good {
		v = 1
	}
	d.reloads.Set(v)
}

// countReloads registers the metric of reload.
func (d *daemon) countReloads() {
	d.reloads = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "thor_config_reload_success", Help: "0 after a SIGHUP that was refused, in part or as a whole; else 1.",
	})
	d.reloads.Set(1)
	d.metrics.MustRegister(d.reloads)
}

// setLevel sets what the whole process logs.
func setLevel(c config.Log) {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil || c.Level == "" {
		level = zerolog.InfoLevel
	}
	zerolog.SetGlobalLevel(level)
}
