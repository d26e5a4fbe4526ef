package web

import (
	"os/exec"
	"strings"
	"testing"
)

// run runs the page's scripts but for main.js, and then code, in Node.js, and returns what it prints.
func run(t *testing.T, code string) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is missing: Debian package nodejs")
	}
	var all strings.Builder
	all.WriteString("globalThis.document = { addEventListener() {}, querySelectorAll: () => [], getElementById: () => ({ addEventListener() {}, style: {}, dataset: {} }) };\n")
	for _, name := range scripts {
		if name == "main.js" { // opens the stream
			continue
		}
		b, err := files.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
		all.WriteByte('\n')
	}
	all.WriteString(code)
	cmd := exec.Command(node, "-")
	cmd.Stdin = strings.NewReader(all.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// A new manager tells that it was elected and which sites are silent in one moment.
func TestASiteStaysSilentWhenAnotherManagerTellsSo(t *testing.T) {
	const before = `{ time: '2026-12-01T00:00:00Z', came: 1, event: 'guard', site: 'ams' }`
	for events, want := range map[string]string{
		before: "ams",
		before + `, { time: '2026-12-01T00:00:09Z', came: 2, event: 'elected' }`:                                                                         "",
		before + `, { time: '2026-12-01T00:00:09Z', came: 2, event: 'elected' }, { time: '2026-12-01T00:00:09Z', came: 3, event: 'guard', site: 'ams' }`: "ams",
		before + `, { time: '2026-12-01T00:00:09Z', came: 2, event: 'guard_end', site: 'ams' }`:                                                          "",
		`{ time: '2026-12-01T00:00:09Z', came: 1, event: 'guard', site: 'fra' }, ` + strings.Replace(before, "came: 1", "came: 2", 1):                    "fra,ams",
	} {
		if got := run(t, `model.events = [`+events+`].sort(newestFirst); console.log([...silentSites().keys()].join());`); got != want {
			t.Errorf("%s: silent are %q, want %q", events, got, want)
		}
	}
}

// The error page of a proxy in front is nothing that thor web said.
func TestARefusalIsThatOfThorWeb(t *testing.T) {
	got := run(t, `console.log(refusal(503, 'text/plain; charset=utf-8', '64 pages are open\n') + '; ' + refusal(502, 'text/html', '<html>') + '; ' + refusal(504, 'text/plain', 'x'.repeat(1000)))`)
	if want := "thor web refuses: 64 pages are open; No stream: HTTP 502; No stream: HTTP 504"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
