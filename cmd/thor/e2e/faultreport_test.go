//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"thor/cmd/thor/e2e/faults"
	"thor/cmd/thor/e2e/trace"
)

// report prints figures and violations, and fails for those that are not known.
func report(t *testing.T, lines []trace.Line) {
	t.Helper()
	found := trace.Check(lines)
	judged := slices.DeleteFunc(slices.Clone(found), func(v trace.Violation) bool { return v.Stalled })
	trace.Print(os.Stdout, trace.Figures(lines, judged))
	stalled := trace.StalledShare(lines)
	fmt.Printf("the machine stood still too long for %.0f %% of the run: what allows for time is not judged there\n", 100*stalled)
	if stalled > 0.6 {
		t.Error("the machine is too slow to judge by")
	}
	for _, v := range found {
		if v.Stalled {
			fmt.Println("not judged:", v)
			continue
		}
		if why := faults.KnownFailure(v.Invariant, v.Faults); why != "" {
			fmt.Printf("known: %v (%s)\n", v, why)
			continue
		}
		t.Error(v)
	}
	for _, r := range trace.CheckRegisters(lines, false, time.Minute) {
		fmt.Println("compare-and-set:", r)
		if r.Result != porcupine.Ok {
			t.Errorf("I3: %v", r)
		}
	}
	for _, r := range trace.CheckRegisters(lines, true, 20*time.Second) {
		fmt.Println("with direct reads, which may be stale:", r)
	}
}

// resources notes what the processes hold.
func (f *faultNet) resources(t *testing.T) {
	t.Helper()
	for _, name := range f.order {
		d := f.daemons[name]
		pid := d.p.cmd.Process.Pid
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Error(err)
			continue
		}
		r := &trace.Resources{Process: name, PID: pid, Files: len(files)}
		if err := readMetrics(d, r); err != nil {
			t.Errorf("metrics of %s: %v", name, err)
			continue
		}
		f.log.Add(trace.Line{Resources: r})
	}
}

// readMetrics reads what a process says of itself, on its host.
func readMetrics(d *daemonProc, r *trace.Resources) error {
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		return hostDialer{d.p.host}.Dial(network, address)
	}
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	res, err := c.Get("http://" + d.http + "/metrics")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	found := false
	lines := bufio.NewScanner(io.LimitReader(res.Body, 8<<20))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "go_goroutines":
			r.Goroutines, err = strconv.Atoi(value)
			found = true
		case "thor_overlay_repairs_total": // brokers have none
			r.Repairs, err = strconv.Atoi(value)
		}
		if err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("no go_goroutines at %s", d.http)
	}
	return lines.Err()
}

// searchLogs looks for secrets and crashes in all that was printed.
func (f *faultNet) searchLogs(t *testing.T) {
	t.Helper()
	secrets := []string{"\npanic: ", "\nfatal error: ", "DATA RACE", "PRIVATE KEY"} // a guard is called panic, too
	keys, _ := filepath.Glob(filepath.Join(f.desk.dir, "*.key"))                    // the pattern is good
	for _, k := range keys {
		b, err := os.ReadFile(k)
		if err != nil {
			t.Fatal(err)
		}
		if body := strings.Split(string(b), "\n"); len(body) > 1 {
			secrets = append(secrets, body[1])
		}
	}
	for _, h := range f.hosts {
		logs, _ := filepath.Glob(filepath.Join(h.dir, "*.log")) // the pattern is good
		for _, l := range logs {
			b, err := os.ReadFile(l)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range secrets {
				if strings.Contains("\n"+string(b), s) {
					f.log.Add(trace.Line{Finding: &trace.Finding{File: h.name + "/" + filepath.Base(l), Text: s[:min(len(s), 16)]}})
				}
			}
		}
	}
}

// keepLogs copies all that was printed beside a trace that is kept.
func (f *faultNet) keepLogs(t *testing.T) {
	t.Helper()
	file := os.Getenv(labTrace)
	if file == "" {
		return
	}
	dir := file + ".logs"
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, h := range f.hosts {
		logs, _ := filepath.Glob(filepath.Join(h.dir, "*.log")) // the pattern is good
		for _, l := range logs {
			b, err := os.ReadFile(l)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, filepath.Base(l)), b, 0o600)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// TestLabTrace judges a trace again.
func TestLabTrace(t *testing.T) {
	file := os.Getenv(labRead)
	if file == "" {
		t.Skipf("set %s to the trace of a run of the lab", labRead)
	}
	r, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	lines, err := trace.Read(r)
	if err != nil {
		t.Fatal(err)
	}
	report(t, lines)
}
