//go:build e2e

package e2e_test

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A serfAgent is one agent of the peer that is a Debian package, with its LAN
// profile on loopback. It joins the first one, and asks again while that does not
// listen yet; then members are found by gossip alone.
func serfAgent(t testing.TB, i int, told chan<- string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(need(t, "serf", "serf"), "agent", "-node", fmt.Sprintf("s%d", i), "-bind", fmt.Sprintf("127.88.60.%d:7946", i),
		"-rpc-addr", fmt.Sprintf("127.88.60.%d:7373", i), "-retry-join", "127.88.60.1:7946", "-retry-interval", "1s")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			if _, what, ok := strings.Cut(s.Text(), "serf: EventMember"); ok && told != nil {
				told <- what // "Failed: s3 …", "Join: s3 …"
			}
		}
	}()
	return cmd
}

// serfPair runs two agents until the test ends and tells what the first one hears.
func serfPair(t testing.TB) (first *exec.Cmd, await func(string)) {
	t.Helper()
	heard := make(chan string, 256)
	for i, told := range []chan string{heard, nil} {
		cmd := serfAgent(t, i+1, told)
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		if i == 0 {
			first = cmd
		}
	}
	return first, func(what string) {
		t.Helper()
		deadline := time.After(60 * time.Second)
		for {
			select {
			case e := <-heard:
				if strings.Contains(e, what) {
					return
				}
			case <-deadline:
				t.Fatalf("serf did not tell within 60 s: %s", what)
			}
		}
	}
}

// serf samples how long an agent that was killed stays a member for others.
func (b *bench) serf() {
	_, await := serfPair(b.t)
	await("Join: s2")
	for range min(b.n, 20) { // of five seconds and more each
		cmd := serfAgent(b.t, 3, nil)
		await("Join: s3")
		began := time.Now()
		_ = cmd.Process.Kill()
		await("Failed: s3")
		b.took(time.Since(began))
		_ = cmd.Wait()
	}
}

func (b *bench) serfFootprint() string {
	first, await := serfPair(b.t)
	await("Join: s2")
	return "      serf agent, one other member: " + footprint(b.t, first.Process.Pid) + "\n"
}
