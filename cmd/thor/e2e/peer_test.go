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

// serf samples the peer that is a Debian package: three agents with its LAN
// profile on loopback, one of them killed, until another one tells that it
// failed. Its members are found by gossip alone: nobody is asked.
func (b *bench) serf() (ds []time.Duration) {
	bin := need(b.t, "serf", "serf")
	heard := make(chan string, 256)
	agent := func(t *testing.T, i int, told chan<- string) *exec.Cmd {
		t.Helper()
		cmd := exec.Command(bin, "agent", "-node", fmt.Sprintf("s%d", i), "-bind", fmt.Sprintf("127.88.60.%d:7946", i),
			"-rpc-addr", fmt.Sprintf("127.88.60.%d:7373", i), "-join", "127.88.60.1:7946")
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
	await := func(what string) {
		b.t.Helper()
		deadline := time.After(60 * time.Second)
		for {
			select {
			case e := <-heard:
				if strings.Contains(e, what) {
					return
				}
			case <-deadline:
				b.t.Fatalf("serf did not tell within 60 s: %s", what)
			}
		}
	}
	b.t.Run("serf", func(t *testing.T) {
		for i := 1; i <= 2; i++ {
			cmd := agent(t, i, map[int]chan string{1: heard}[i])
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		}
		await("Join: s2")
		for range min(b.n, 20) { // of five seconds and more each
			cmd := agent(t, 3, nil)
			await("Join: s3")
			began := time.Now()
			_ = cmd.Process.Kill()
			await("Failed: s3")
			ds = append(ds, time.Since(began))
			_ = cmd.Wait()
		}
	})
	return ds
}
