//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"thor/subjects"
)

// TestWebViewOfSites looks at three sites with Debian's Chromium, and loses one of them.
func TestWebViewOfSites(t *testing.T) {
	n := startNetwork(t, "127.149", "--nodes", "6", "--sites", "ams,fra,lon", "--domain", "example.net")
	b := openBrowser(t)
	b.sized(1440, 1000, false)
	b.open(n.Web)
	b.until(20*time.Second, "each site has a button", `document.querySelectorAll('#sites .site.up').length === 3`)
	b.until(10*time.Second, "brokers say their sites", `/site ams/.test(document.querySelector('#brokers').innerText)`)
	b.do(`document.querySelector('#sites [data-site=fra]').click()`)
	b.until(5*time.Second, "fra alone is shown", `document.querySelectorAll('.member').length > 0 && [...document.querySelectorAll('.member .tag.site')].every((e) => e.innerText === 'fra')`)
	b.do(`document.querySelector('#sites [data-site=fra]').click()`)
	b.do(`document.querySelector('#by-site').click()`)
	b.until(5*time.Second, "members are below their sites", `[...document.querySelectorAll('.members .place')].map((e) => e.innerText).slice(0, 3).join() === 'ams,fra,lon'`)
	for _, width := range []int64{360, 860, 1440} {
		b.sized(width, 1000, false)
		if got := value[float64](b, `document.documentElement.scrollWidth`); got > float64(width) {
			t.Errorf("at %d px the page is %g wide", width, got)
		}
	}
	// Those in the frozen site hear nothing until they have found another broker.
	b.until(40*time.Second, "the web view is at the broker of its site", `/live through broker1/.test(document.querySelector('#link-text').innerText)`)
	site, node := "fra", "node2"
	if s := n.status(); s.Member(subjects.Manager, s.Manager).Place() == "fra" { // it would be silent for as long as its members stay
		site, node = "lon", "node3"
	}
	n.freezeSite(t, subjects.Site(site))
	b.until(10*time.Second, site+" is silent", fmt.Sprintf(`/silent/.test(document.querySelector('#sites [data-site=%s]').innerText) && /site %[1]s is silent/.test(document.querySelector('#reasons').innerText)`, site))
	b.until(40*time.Second, site+" is lost", fmt.Sprintf(`document.querySelector('#sites .site.lost[data-site=%s]') && /site %[1]s fell silent/.test(document.querySelector('#reasons').innerText)`, site))
	b.until(5*time.Second, "its members stay below it", memberRow(node, subjects.StateLost)+fmt.Sprintf(` && (() => { let e = %s; while (e && !e.matches('.place')) e = e.previousElementSibling; return e.innerText === '%s'; })()`, memberRow(node, subjects.StateLost), site))
	if dir := os.Getenv("THOR_PICTURES"); dir != "" {
		b.picture(filepath.Join(dir, "web-sites.png"))
	}
	b.healthy(n.Web)
}

// freezeSite stops all processes of a site for the rest of the test: silent, with no connection
// that ends.
func (n *network) freezeSite(t *testing.T, site subjects.Site) {
	t.Helper()
	s := n.status()
	frozen := 0
	for _, p := range n.Network.Processes {
		for _, ms := range s.Roles {
			if i := slices.IndexFunc(ms, func(m subjects.Member) bool { return string(m.Node) == p.Node && m.Place() == site }); i >= 0 {
				pid := n.pid(t, p.Name)
				if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
				frozen++
				break
			}
		}
	}
	if frozen < 3 {
		t.Fatalf("%d processes in %s: %+v", frozen, site, n.Network.Processes)
	}
}
