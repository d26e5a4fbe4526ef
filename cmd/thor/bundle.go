package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"thor/cmd/thor/internal/bundle"
	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/doctor"
	"thor/cmd/thor/internal/up"
	"thor/identity/atomicfile"
	"thor/overlay/setting"
)

// Bounds of what a bundle holds of each source.
const (
	bundleLog  = 512 << 10 // bytes of the end of a log
	bundlePage = 1 << 20
	bundleWait = 10 * time.Second // for a page, and for the journal
)

// writeBundle writes what a bug report needs. What cannot be had is left out, and the
// archive says why.
func (r *reach) writeBundle(ctx context.Context, file string, f *doctor.Facts, findings []doctor.Finding) error {
	b := bundle.New()
	var report bytes.Buffer
	if err := printFindings(&report, findings); err != nil {
		return err
	}
	b.Add("doctor.txt", report.Bytes())
	b.Add("version.txt", fmt.Appendf(nil, "thor %s, %s, %s/%s\n", versionString(), runtime.Version(), runtime.GOOS, runtime.GOARCH))
	addJSON(b, "doctor.json", findings)
	if n := f.Network; n != nil && n.Status != nil {
		addJSON(b, "status.json", n.Status)
	}
	hideFile(b, r.key)
	if r.config != "" {
		bundleDaemons(ctx, b, "host", r.config)
		bundleJournal(ctx, b)
	}
	if r.dir != "" {
		r.bundleDirectory(ctx, b)
	}
	archive, err := b.Archive("thor-"+f.Now.UTC().Format("20060102T150405Z"), f.Now)
	if err != nil {
		return err
	}
	return atomicfile.Write(file, archive, 0o600)
}

func addJSON(b *bundle.Bundle, name string, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		text = []byte(err.Error())
	}
	b.Add(name, append(text, '\n'))
}

// hideFile keeps the content of a secret file out of everything.
func hideFile(b *bundle.Bundle, file string) {
	if content, err := os.ReadFile(file); err == nil && len(content) < bundlePage {
		b.Secret(content)
	}
}

// bundleDaemons adds a configuration, and the pages of its daemons that answer.
func bundleDaemons(ctx context.Context, b *bundle.Bundle, name, file string) {
	doc, err := os.ReadFile(file)
	if err != nil {
		b.Add(name+"/thor.toml", []byte("# "+err.Error()+"\n"))
		return
	}
	f, problems := config.Examine(file)
	b.Add(name+"/problems.txt", []byte(problems.Error()+"\n"))
	if f != nil {
		for _, secret := range setting.SecretFiles(f) {
			hideFile(b, secret)
		}
	}
	b.AddConfig(name+"/thor.toml", doc)
	if f == nil {
		return
	}
	for _, k := range daemonKinds {
		section := k.name
		address, _ := f.Metrics(section)
		if !f.Has(section) || address == "" {
			continue
		}
		for _, page := range []string{"readyz", "metrics"} {
			b.Add(name+"/"+section+"."+page, fetchPage(ctx, "http://"+address+"/"+page))
		}
	}
}

// pageClient asks the daemons themselves: no proxy, and no other place that an answer names.
var pageClient = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// fetchPage is the page, or why there is none.
func fetchPage(ctx context.Context, url string) []byte {
	ctx, cancel := context.WithTimeout(ctx, bundleWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	resp, err := pageClient.Do(req)
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, bundlePage))
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	return page
}

// bundleJournal adds what the units of this host logged last.
func bundleJournal(ctx context.Context, b *bundle.Bundle) {
	ctx, cancel := context.WithTimeout(ctx, bundleWait)
	defer cancel()
	out, err := exec.CommandContext(ctx, "journalctl", "--no-pager", "--quiet", "-n", "5000", "-u", "thor-*").CombinedOutput()
	if err != nil {
		out = append(out, []byte(err.Error()+"\n")...)
	}
	b.Add("host/journal.txt", out[max(0, len(out)-bundleLog):])
}

// bundleDirectory adds the daemons of a thor up, with their logs.
func (r *reach) bundleDirectory(ctx context.Context, b *bundle.Bundle) {
	n, err := up.ReadNetwork(filepath.Join(r.dir, up.NetworkFile))
	if err != nil {
		b.Add("network.json", []byte(err.Error()+"\n"))
		return
	}
	addJSON(b, "network.json", n)
	for _, p := range n.Processes {
		hideFile(b, filepath.Join(r.dir, p.Name, "password"))
		if p.Config != "" {
			bundleDaemons(ctx, b, p.Name, p.Config)
		}
		if log, err := os.ReadFile(filepath.Join(r.dir, p.Name, "log")); err == nil {
			b.Add(p.Name+"/log", log[max(0, len(log)-bundleLog):])
		}
	}
}
