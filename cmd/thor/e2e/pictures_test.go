//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thor/subjects"
)

// TestWebPictures makes the pictures of the documentation in the directory
// THOR_PICTURES: a network of which one node died and another one drains.
func TestWebPictures(t *testing.T) {
	dir := os.Getenv("THOR_PICTURES")
	if dir == "" {
		t.Skip("set THOR_PICTURES to a directory, or use just pictures")
	}
	n := startNetwork(t, "127.118", "--nodes", "6", "--domain", "example.net")
	b := openBrowser(t)
	b.sized(1440, 1000, false)
	b.open(n.Web)
	b.until(20*time.Second, "all is well", `document.querySelector('#health').innerText.includes('All is well') && document.querySelectorAll('#ring .shares li').length === 6`)
	n.run(t, "drain", "node5", "--reason", "new kernel", "--for", "30m")
	b.until(20*time.Second, "node5 drains", memberRow("node5", subjects.Draining))
	n.kill9(t, "node2")
	b.until(20*time.Second, "node2 is lost", memberRow("node2", lostState)+` && document.querySelectorAll('#ring .ribbon').length >= 4`)
	b.do(`document.querySelector('#key').value = 'alice@example.net', document.querySelector('#search').requestSubmit()`)
	b.until(5*time.Second, "alice is found", `document.querySelector('#ring .owner')`)
	b.until(20*time.Second, "what was new is no longer marked", `document.getAnimations().length === 0 && (document.querySelector('#dns').innerText.match(/serial \d+/g) || []).length === 2`)
	for _, p := range []struct {
		width, height int64
		dark          bool
	}{{1920, 1120, false}, {1024, 1180, true}, {360, 1500, false}} {
		b.sized(p.width, p.height, p.dark)
		b.until(5*time.Second, "the page is laid out", fmt.Sprintf(`innerWidth === %d`, p.width))
		theme := "light"
		if p.dark {
			theme = "dark"
		}
		b.picture(filepath.Join(dir, fmt.Sprintf("web-%d-%s.png", p.width, theme)))
	}
	b.healthy(n.Web)
}
