package nodeagent

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"thor/overlay/check"
)

func TestRTPEngineProbeJudgesTheAnswer(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(q string) []string
		want   string
	}{
		{"pong", func(q string) []string {
			return []string{strings.Replace(q, "d7:command4:pinge", "d6:result4:ponge", 1)}
		}, ""},
		{"pong and more", func(q string) []string {
			return []string{strings.Replace(q, "d7:command4:pinge", "d3:abci1e6:result4:ponge", 1)}
		}, ""},
		{"error", func(q string) []string {
			return []string{strings.Replace(q, "d7:command4:pinge", "d12:error-reason3:bad6:result5:errore", 1)}
		}, "answered something other than pong"},
		{"another cookie", func(string) []string { return []string{"x d6:result4:ponge"} }, "no valid answer"},
		{"garbage", func(string) []string { return []string{"\x00"} }, "no valid answer"},
		{"an earlier cookie", func(q string) []string {
			return []string{q[:strings.LastIndex(q, "-")] + "-99 d6:result4:ponge"}
		}, "no answer"},
		{"silence", func(string) []string { return nil }, "no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			askTwice(t, proberOf(t, CheckConfig{Kind: RTPEngine, Target: udpServer(t, c.answer)}), c.want)
		})
	}
}

func TestTCPProbeConnects(t *testing.T) {
	if got := faultOf(t, proberOf(t, CheckConfig{Kind: TCP, Target: tcpServer(t, nil, func(net.Conn) {})}), never); got != "" {
		t.Error(got)
	}
	if got := faultOf(t, proberOf(t, CheckConfig{Kind: TCP, Target: freePort(t, "tcp")}), never); got != "connection refused" {
		t.Error(got)
	}
	if got := faultOf(t, proberOf(t, CheckConfig{Kind: TCP, Target: "host.invalid:1"}), never); !strings.HasPrefix(got, "host ") && got != check.NoAnswer {
		t.Error(got)
	}
}

func TestHTTPProbeJudgesTheStatusAndHidesTheQuery(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil || r.URL.RawQuery != "token=canary" {
			code = 500
		}
		w.Header().Set("Location", "/200")
		w.WriteHeader(code)
	})
	plain, secure := httptest.NewServer(h), httptest.NewUnstartedServer(h)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer plain.Close()
	defer secure.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(secure.Certificate())
	for _, c := range []struct {
		base   string
		code   int
		expect []int
		roots  *x509.CertPool
		want   string
	}{
		{plain.URL, 200, nil, nil, ""},
		{plain.URL, 204, nil, nil, ""},
		{plain.URL, 302, nil, nil, "answered 302"},
		{plain.URL, 503, nil, nil, "answered 503"},
		{plain.URL, 404, []int{404}, nil, ""},
		{plain.URL, 200, []int{404}, nil, "answered 200"},
		{secure.URL, 200, nil, nil, ""},
		{secure.URL, 200, nil, trusted, ""},
		{secure.URL, 200, nil, x509.NewCertPool(), "certificate of an unknown authority"},
		{"http://" + freePort(t, "tcp"), 200, nil, nil, "connection refused"},
	} {
		p := proberOf(t, CheckConfig{Kind: HTTP, Target: fmt.Sprintf("%s/%d?token=canary", c.base, c.code), Expect: c.expect, Roots: c.roots})
		if strings.Contains(p.Name(), "canary") {
			t.Errorf("name %q", p.Name())
		}
		if got := faultOf(t, p, never); got != c.want {
			t.Errorf("%s %d: %q, want %q", c.base, c.code, got, c.want)
		}
	}
	slow := tcpServer(t, nil, func(c net.Conn) { _, _ = bufio.NewReader(c).ReadString(0) })
	if got := faultOf(t, proberOf(t, CheckConfig{Kind: HTTP, Target: "http://" + slow + "/"}), soon); got != "no answer" {
		t.Error(got)
	}
	junk := tcpServer(t, nil, func(c net.Conn) { fmt.Fprint(c, "junk\r\n\r\n") })
	if got := faultOf(t, proberOf(t, CheckConfig{Kind: HTTP, Target: "http://" + junk + "/"}), never); got != "failed" {
		t.Error(got)
	}
}

func TestCommandProbeJudgesTheExit(t *testing.T) {
	t.Setenv("THOR_CANARY", "canary")
	for _, c := range []struct{ name, script, want string }{
		{"exit 0", "exit 0", ""},
		{"exit 3", "echo out; echo err >&2; exit 3", "exit status 3"},
		{"signal", "kill -9 $$", "ended by a signal"},
		{"much output", "head -c 1000000 /dev/zero", ""},
		{"no input", "read x", "exit status 1"},
		{"our environment", "test -z \"$THOR_CANARY\"", ""},
		{"arguments are not expanded", "test \"$1\" = '$(exit 1)*'", ""},
	} {
		p := proberOf(t, CheckConfig{Kind: Command, Command: []string{"/bin/sh", "-c", c.script, "sh", "$(exit 1)*"}})
		if got := faultOf(t, p, never); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := faultOf(t, proberOf(t, CheckConfig{Kind: Command, Command: []string{"/nonexistent/program"}}), never); got != "not found" {
		t.Error(got)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "program")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := faultOf(t, proberOf(t, CheckConfig{Kind: Command, Command: []string{file}}), never); got != "not permitted" {
		t.Error(got)
	}
}

func TestACommandEndsWithAllItStarted(t *testing.T) {
	for _, c := range []struct {
		name, script, want string
		timeout            time.Duration
	}{
		{"hangs", "sleep 600 & echo $! >pids; echo $$ >>pids; sleep 600", "timed out", time.Second},
		{"leaves a child", "sleep 600 & echo $! >pids", "", never},
		{"leaves a child and fails", "sleep 600 & echo $! >pids; exit 2", "exit status 2", never},
		{"leaves a silent child", "sleep 600 >/dev/null 2>&1 & echo $! >pids", "", never},
	} {
		dir := t.TempDir()
		p := proberOf(t, CheckConfig{Kind: Command, Command: []string{"/bin/sh", "-c", "cd " + dir + "; " + c.script}})
		if got := faultOf(t, p, c.timeout); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		b, err := os.ReadFile(filepath.Join(dir, "pids"))
		if err != nil {
			t.Fatal(err)
		}
		for f := range bytes.FieldsSeq(b) {
			pid, err := strconv.Atoi(string(f))
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, c.name+": process ended", func() bool { return ended(pid) })
		}
	}
}

// ended reports whether pid is gone, or waits to be buried by whoever adopted it.
func ended(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(b, []byte(") Z "))
}
