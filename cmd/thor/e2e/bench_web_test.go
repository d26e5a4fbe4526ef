//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

// TestBenchWeb prints how soon the page shows that a node was killed, by
// THOR_BENCH_WEB kills, and what 1,000 members cost the page and its daemon.
func TestBenchWeb(t *testing.T) {
	runs, err := strconv.Atoi(os.Getenv("THOR_BENCH_WEB"))
	if err != nil || runs < 1 {
		t.Skip("set THOR_BENCH_WEB to a number of kills, or use just bench-web")
	}
	fmt.Printf("load average at the beginning: %s\n", loadAverage())
	t.Run("kill", func(t *testing.T) { benchWebKills(t, runs) })
	t.Run("thousand", func(t *testing.T) { benchWebMembers(t, 1000, 10) })
}

// markLosses notes in the page when rows are drawn as lost: the time after the frame.
const markLosses = `window.lostAt = {}, new MutationObserver(() => {
  for (const e of document.querySelectorAll('.member[data-state=lost]')) {
    const n = e.dataset.node;
    if (window.lostAt[n] === undefined) { window.lostAt[n] = 0; requestAnimationFrame(() => setTimeout(() => { window.lostAt[n] = Date.now(); })); }
  }
}).observe(document.querySelector('#members'), { childList: true, subtree: true })`

func benchWebKills(t *testing.T, runs int) {
	n := startNetwork(t, "127.117", "--nodes", "3", "--damping=false")
	b := openBrowser(t)
	b.sized(1024, 900, false)
	b.open(n.Web)
	b.do(markLosses)
	var took []time.Duration
	for i := range runs {
		name := fmt.Sprintf("node%d", 1+i%3)
		b.until(30*time.Second, name+" is up", memberRow(name, subjects.Up)+` !== null && document.querySelector('#health').innerText.includes('All is well')`)
		b.do(`window.lostAt = {}`)
		began := time.Now()
		n.kill9(t, name)
		b.until(20*time.Second, name+" is lost on the page", fmt.Sprintf(`(window.lostAt[%q] || 0) > 0`, name))
		took = append(took, time.UnixMilli(int64(value[float64](b, fmt.Sprintf(`window.lostAt[%q]`, name)))).Sub(began))
		n.control(t, "start", name)
	}
	printQuantiles("node killed → lost on the page", "p99 ≤ 1.5 s", took)
}

// printQuantiles prints median, p99 and greatest of took.
func printQuantiles(what, must string, took []time.Duration) {
	slices.Sort(took)
	q := func(p float64) time.Duration { return took[min(len(took)-1, int(p*float64(len(took))))] }
	fmt.Printf("%s (%s): median %d ms, p99 %d ms, greatest %d ms, runs %d\n", what, must,
		q(0.5).Milliseconds(), q(0.99).Milliseconds(), took[len(took)-1].Milliseconds(), len(took))
}

// benchWebMembers opens the page of a network with so many members.
func benchWebMembers(t *testing.T, members, loads int) {
	net := startScale(t)
	preferMembers()
	f := newFleet(t, net, members)
	f.join(t)
	eventually(t, 200*time.Second, "all members are listed", f.complete)
	var urls []string
	for _, a := range net.brokers {
		urls = append(urls, fmt.Sprintf("%q", "tls://"+a))
	}
	listen := scaleLoopback + ".15.1:8680"
	net.daemon(t, "web1", "web", 15, 1, urls, subjects.Monitor, fmt.Sprintf("[web]\nlisten = %q\nhttp = \"\"\n", listen))
	web := net.find("web1")
	web.start(t)
	b := openBrowser(t)
	b.sized(1440, 900, false)
	var paints, shown []time.Duration
	for range loads {
		eventually(t, 60*time.Second, "the daemon has all members and their shares", func() bool { return webHas("http://"+listen, members) })
		b.open("http://" + listen + "/")
		b.until(10*time.Second, "it was painted", `performance.getEntriesByName('first-contentful-paint').length > 0 && performance.getEntriesByName('members').length > 0`)
		millis := func(js string) time.Duration { return time.Duration(value[float64](b, js) * float64(time.Millisecond)) }
		paints = append(paints, millis(`performance.getEntriesByName('first-contentful-paint')[0].startTime`))
		shown = append(shown, millis(`performance.getEntriesByName('members')[0].startTime`))
	}
	printQuantiles(fmt.Sprintf("%d members: first contentful paint", members), "≤ 1 s", paints)
	printQuantiles(fmt.Sprintf("%d members: members, roles and ring are painted", members), "≤ 1 s", shown)
	fmt.Printf("%d members: memory of the daemon with a page open (≤ 60 MiB): %.1f MiB resident, %.1f MiB at most\n", members,
		statusMiB(t, web.cmd.Process.Pid, "VmRSS"), statusMiB(t, web.cmd.Process.Pid, "VmHWM"))
}

// statusMiB is a field of /proc/PID/status that counts kB.
func statusMiB(t testing.TB, pid int, field string) float64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == field+":" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	t.Fatalf("no %s", field)
	return 0
}

// webHas reports whether the daemon's picture has so many members, and a ring.
func webHas(url string, members int) bool {
	r, err := http.Get(url + "/api/status")
	if err != nil {
		return false
	}
	defer r.Body.Close()
	var p struct {
		Members int
		Roles   []struct{ Ring *struct{ Slots int } }
	}
	if json.NewDecoder(r.Body).Decode(&p) != nil || p.Members < members {
		return false
	}
	for _, x := range p.Roles {
		if x.Ring != nil && x.Ring.Slots > 0 {
			return true
		}
	}
	return false
}
