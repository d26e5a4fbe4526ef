package up

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thor/cmd/thor/internal/sdnotify"
)

// A child's successor gets its sockets, and what it stored.
func TestFilesOutliveAChild(t *testing.T) {
	s := newFDStore(filepath.Join(t.TempDir(), "notify.sock"))
	t.Cleanup(s.drop)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	child := func() string {
		t.Helper()
		cmd := exec.Command("/bin/sh", "-c", `echo "$LISTEN_FDS $LISTEN_FDNAMES"; if [ "$LISTEN_FDS" -gt 1 ]; then cat <&4; fi`)
		if err := s.hand(cmd, []socketAddr{{"tcp", addr}}); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := child(); got != "1 socket" {
		t.Errorf("the first child gets %q", got)
	}
	t.Setenv("NOTIFY_SOCKET", s.path)
	var k sdnotify.Keeper
	for i, text := range []string{"one", "two"} {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("x-%d", i)
		if err := k.Store(name, f); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		if i == 1 {
			k.Forget("x-0")
		}
		if err := k.Store("rest", os.Stdin); err != nil { // behind Forget
			t.Fatal(err)
		}
		k.Forget("rest")
		if err := k.Store("last", os.Stdin); err != nil {
			t.Fatal(err)
		}
		k.Forget("last")
		for done := false; !done; { // what was sent is dealt with in its order
			s.mu.Lock()
			done = len(s.files) == 1
			s.mu.Unlock()
		}
		if got, want := child(), "2 socket:"+name+"\n"+text; got != want {
			t.Errorf("the child after that gets %q, want %q", got, want)
		}
	}
	if c, err := net.Listen("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("the port is free while no child runs")
	}
	s.drop()
	if got := child(); got != "1 socket" {
		t.Errorf("the first child after a stop gets %q", got)
	}
}
