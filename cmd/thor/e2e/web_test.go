//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"thor/overlay"
	"thor/subjects"
)

// memberRow is a selector of a member's row in the page.
func memberRow(node string, state subjects.State) string {
	return fmt.Sprintf(`document.querySelector('.member[data-node=%s][data-state=%s]')`, node, state)
}

const (
	lostState = subjects.State("lost")
	htmlTrap  = `<img src=x onerror=window.trapped=1><script>window.trapped=1</script>`
)

// TestWebView looks at a network with Debian's Chromium, and breaks it.
func TestWebView(t *testing.T) {
	n := startNetwork(t, "127.116", "--nodes", "3")
	b := openBrowser(t)
	b.sized(1024, 900, false)
	b.open(n.Web)
	b.until(10*time.Second, "all is well", `document.querySelector('#health').innerText.includes('All is well')`)
	b.until(10*time.Second, "the ring has three arcs", `document.querySelectorAll('#ring .arc').length >= 3`)
	b.until(10*time.Second, "both name servers answered", `(document.querySelector('#dns').innerText.match(/serial \d+/g) || []).length === 2`)
	b.until(5*time.Second, "each broker has two routes", `(document.querySelector('#brokers').innerText.match(/2 routes/g) || []).length === 3`)
	before := time.Now()

	n.webFits(t, b)
	n.webSearches(t, b)
	n.webIsText(t, b)
	n.webShowsADeath(t, b)
	n.webShowsThePast(t, b, before)
	n.webObeysKeys(t, b)
	n.webIsLostAndRecovers(t, b)
	b.healthy(n.Web)
	n.webIsFull(t, b)
	n.webRefuses(t)
}

// webFits: no width needs a horizontal scroll bar, with a member's commands shown too.
func (n *network) webFits(t *testing.T, b *browser) {
	open := memberRow("node1", subjects.Up) + `.querySelector('button').click()`
	b.do(open)
	b.until(5*time.Second, "a member's commands are shown", memberRow("node1", subjects.Up)+`.querySelectorAll('.cmd').length === 2`)
	for _, width := range []int64{360, 620, 860, 1024, 1440, 1920} {
		for _, dark := range []bool{false, true} {
			b.sized(width, 900, dark)
			if got := value[float64](b, `document.documentElement.scrollWidth`); got > float64(width) {
				t.Errorf("at %d px the page is %g wide", width, got)
			}
			light := value[bool](b, `getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0,3).every((x) => x > 128)`)
			if light == dark {
				t.Errorf("the background is light: %v, the system is dark: %v", light, dark)
			}
		}
	}
	b.sized(1024, 900, false)
	b.do(open)
}

// webSearches: the page finds what thor lookup finds.
func (n *network) webSearches(t *testing.T, b *browser) {
	for _, key := range []string{"alice@example.net", "sip:bob@example.net"} {
		want := n.found(t, key)[0]
		b.do(fmt.Sprintf(`document.querySelector('#key').value = %q, document.querySelector('#search').requestSubmit()`, key))
		b.until(5*time.Second, "owner and heir of "+key, fmt.Sprintf(`[...document.querySelectorAll('#found b')].map((e) => e.innerText).join(' ') === %q`, want.Owner+" "+want.Heir))
		b.until(5*time.Second, "the owner is marked in the ring", `document.querySelectorAll('#ring .owner').length === 1 && document.querySelectorAll('#ring .heir').length === 1`)
	}
	b.do(`document.querySelector('#key').value = 'alice', document.querySelector('#search').requestSubmit()`)
	b.until(5*time.Second, "a key that is none is refused", `document.querySelector('#found').innerText.includes('neither user@domain nor a SIP URI')`)
	b.do(`document.querySelector('#key').value = '', document.querySelector('#key').dispatchEvent(new Event('input'))`)
}

// webIsText: what a member announces is text on the page.
func (n *network) webIsText(t *testing.T, b *browser) {
	const ip = "127.116.40.1"
	base := filepath.Join(t.TempDir(), "trap1")
	n.run(t, "ca", "issue", "--node", "trap1", "--role", "voicemail_server", "--ip", ip, "--out", base)
	node, end := n.connect(t, base+".crt", base+".key")
	m, err := node.Join(overlay.Member{Role: "voicemail_server", State: subjects.Draining, Reason: htmlTrap, Version: "<b>1</b>", Attrs: subjects.Attrs{"site": htmlTrap}})
	if err != nil {
		t.Fatal(err)
	}
	b.until(10*time.Second, "the reason is shown as it is", fmt.Sprintf(`%s?.innerText.includes(%q)`, memberRow("trap1", subjects.Draining), htmlTrap))
	b.do(memberRow("trap1", subjects.Draining) + `.querySelector('button').click()`)
	b.until(5*time.Second, "the attribute is shown as it is", fmt.Sprintf(`%s?.querySelector('dl')?.innerText.includes(%q)`, memberRow("trap1", subjects.Draining), htmlTrap))
	b.until(10*time.Second, "the events show it too", fmt.Sprintf(`document.querySelector('#events').innerText.includes(%q)`, htmlTrap[:20]))
	if value[bool](b, `window.trapped !== undefined || document.querySelector('main img, main script, main b:not(#found b)') !== null`) {
		t.Error("text of the network became HTML")
	}
	commands := value[[]string](b, `[...`+memberRow("trap1", subjects.Draining)+`.querySelectorAll('.cmd code')].map((e) => e.innerText)`)
	if want := []string{"thor resume trap1 --role voicemail_server --dir " + n.dir, "thor events --since 2h --node trap1 --dir " + n.dir}; !slices.Equal(commands, want) {
		t.Fatalf("the commands to copy are %q", commands)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", commands[1]) // as it is shown, in a terminal that knows no network
	shell.Env, shell.Dir = []string{"PATH=" + filepath.Dir(thor)}, "/"
	if out, err := shell.CombinedOutput(); err != nil || !strings.Contains(string(out), "trap1") {
		t.Errorf("%s: %v\n%s", commands[1], err, out)
	}
	m.Leave(context.Background())
	end()
	b.until(10*time.Second, "it has left", `document.querySelector('.member[data-node=trap1]') === null`)
}

// webShowsADeath: a node that is killed is lost on the page within 2 s.
func (n *network) webShowsADeath(t *testing.T, b *browser) {
	began := time.Now()
	n.kill9(t, "node2")
	b.until(10*time.Second, "node2 is lost on the page", memberRow("node2", lostState)+` !== null`)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the page showed the death of node2 after %s, must be 2 s", took)
	} else {
		t.Logf("%6d ms  node2 killed, lost on the page", took.Milliseconds())
	}
	b.until(5*time.Second, "the page is degraded and says why", `document.querySelector('#health').innerText.includes('Degraded') && /node2/.test(document.querySelector('#reasons').innerText)`)
	b.until(5*time.Second, "the role has two of three", `document.querySelector('[data-role=sip_proxy] .number').innerText.replace(/\s+/g, ' ') === '2 of 3'`)
	b.until(5*time.Second, "the ring says what moved", `document.querySelectorAll('#ring .ribbon').length >= 2 && document.querySelector('.moved') !== null`)
}

// webShowsThePast: the slider shows the status of a time, and the live one again.
func (n *network) webShowsThePast(t *testing.T, b *browser, when time.Time) {
	<-time.After(time.Until(when.Add(3 * time.Second))) // the last 1.8 s of an hour's slider are live
	ago := time.Since(when)
	b.do(fmt.Sprintf(`document.querySelector('#slider').value = 1000 - %f / 3600, document.querySelector('#slider').dispatchEvent(new Event('input'))`, ago.Seconds()*1000))
	b.until(20*time.Second, "node2 was up then", `document.body.classList.contains('past') && `+memberRow("node2", subjects.Up)+` !== null`)
	b.until(5*time.Second, "the page says of when it is", `document.querySelector('#time-note').innerText.includes('thor status --at')`)
	b.until(20*time.Second, "the ring of then has three nodes", `document.querySelectorAll('#ring .shares li').length === 3`)
	b.press("l")
	b.until(5*time.Second, "it is live again", `!document.body.classList.contains('past') && `+memberRow("node2", lostState)+` !== null`)
}

// webObeysKeys: everything can be reached by keyboard.
func (n *network) webObeysKeys(t *testing.T, b *browser) {
	b.press("?")
	b.until(5*time.Second, "the keys are listed", `document.querySelector('#help').open`)
	b.press(kb.Escape)
	b.until(5*time.Second, "the list is closed", `!document.querySelector('#help').open`)
	b.press("2")
	b.until(5*time.Second, "a role is chosen", `document.querySelectorAll('.role[aria-pressed=true]').length === 1 && document.activeElement.matches('.role')`)
	chosen := value[string](b, `document.querySelector('.role[aria-pressed=true]').dataset.role`)
	if got := value[float64](b, fmt.Sprintf(`document.querySelectorAll('.member:not([data-of=%s])').length`, chosen)); got != 0 {
		t.Errorf("%g members of other roles are shown", got)
	}
	b.press("0")
	b.press("/")
	b.until(5*time.Second, "the filter has the keys", `document.activeElement.id === 'filter'`)
	b.do(`document.querySelector('#filter').value = ''`) // the browser is sent key and letter apart: the letter came too
	b.press("broker")
	b.until(5*time.Second, "members are filtered", `document.querySelectorAll('.member').length === 3`)
	b.press(kb.Escape)
	b.until(5*time.Second, "the filter is cleared", `document.querySelectorAll('.member').length > 3`)
}

// webIsLostAndRecovers: a page without its daemon says so, and goes on when it is back.
func (n *network) webIsLostAndRecovers(t *testing.T, b *browser) {
	pid := n.pid(t, "web1")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	b.until(10*time.Second, "a silent connection is lost", `!document.querySelector('#lost').hidden && document.querySelector('#lost').innerText.includes('Connection lost')`)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	b.until(20*time.Second, "it is back", `document.querySelector('#lost').hidden`)
	n.control(t, "stop", "web1")
	b.until(10*time.Second, "a closed connection is lost", `document.querySelector('#lost').innerText.includes('Connection lost')`)
	if !value[bool](b, memberRow("node2", lostState)+` !== null`) {
		t.Error("what was known last is gone")
	}
	n.control(t, "start", "web1", "node2")
	b.until(20*time.Second, "the page is back, and shows what happened meanwhile", `document.querySelector('#lost').hidden && `+memberRow("node2", subjects.Up)+` !== null`)
	b.until(20*time.Second, "all is well again", `document.querySelector('#health').innerText.includes('All is well')`)
}

// webIsFull: a page that is one too many says so, and is shown once there is room.
func (n *network) webIsFull(t *testing.T, b *browser) {
	navigate := func(url string) {
		if err := chromedp.Do(b.ctx, chromedp.Navigate(url)); err != nil {
			t.Fatal(err)
		}
	}
	navigate("about:blank")
	var open []io.Closer
	eventually(t, 20*time.Second, "all streams of this machine are taken", func() bool {
		r, err := http.Get(n.Web + "api/events")
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != http.StatusOK {
			r.Body.Close()
			return false
		}
		open = append(open, r.Body)
		return len(open) == 64
	})
	navigate(n.Web)
	b.until(20*time.Second, "the page says that it is one too many", `document.querySelector('#lost').innerText.includes('64 pages are open for this client')`)
	for _, c := range open {
		c.Close()
	}
	b.until(20*time.Second, "the page is shown", `document.querySelector('#lost').hidden && document.querySelectorAll('.member').length > 0`)
}

// webRefuses: other methods, and other names for this host.
func (n *network) webRefuses(t *testing.T) {
	for _, c := range []struct {
		method, host string
		code         int
	}{{"GET", "", 200}, {"HEAD", "", 200}, {"POST", "", 405}, {"DELETE", "", 405}, {"GET", "rebind.example.com", 421}} {
		r, err := http.NewRequest(c.method, n.Web+"api/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.host != "" {
			r.Host = c.host
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.code {
			t.Errorf("%s of %q: %d, want %d", c.method, c.host, resp.StatusCode, c.code)
		}
	}
	if m := n.status().Member(subjects.Monitor, "web1"); m == nil || !strings.HasSuffix(n.Web, ":"+m.Attrs[subjects.AttrPort]+"/") {
		t.Errorf("the web view is announced as %+v", m)
	}
	if names := n.status().RoleNames(); !slices.Contains(names, subjects.Monitor) {
		t.Error(names)
	}
}
