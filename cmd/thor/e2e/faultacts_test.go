//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"thor/cmd/thor/e2e/faults"
	"thor/cmd/thor/e2e/trace"
	"thor/subjects"
)

// resolve puts the names of now where a plan has a symbol. A fault keeps them.
func (f *faultNet) resolve(x *faults.Fault) {
	names := make(map[string]string)
	name := func(s string) string {
		for symbol, find := range map[string]func() string{faults.Active: f.active, faults.Standby: f.standby, faults.Leader: f.leader, faults.ActiveSite: f.activeSite} {
			if strings.Contains(s, symbol) {
				if names[symbol] == "" {
					names[symbol] = find()
				}
				s = strings.ReplaceAll(s, symbol, names[symbol])
			}
		}
		return s
	}
	for i := range x.Steps {
		e := &x.Steps[i].Effect
		e.Process, e.Host, e.From, e.To = name(e.Process), name(e.Host), name(e.From), name(e.To)
	}
	for i := range x.On {
		x.On[i] = name(x.On[i])
	}
}

// active is the host of the manager that leads, as far as is known.
func (f *faultNet) active() string {
	f.watchers.mu.Lock()
	defer f.watchers.mu.Unlock()
	if v := f.watchers.views[f.desk.name]; v != nil && v.Status != nil {
		if m := string(v.Status.Manager); f.byName[m] != nil {
			return m
		}
	}
	return f.topology.Core[0]
}

func (f *faultNet) activeSite() string { return f.topology.Site(f.active()) }

func (f *faultNet) standby() string {
	a := f.active()
	for _, h := range f.topology.Core {
		if h != a {
			return h
		}
	}
	return a
}

// leader is the host whose broker leads the bucket of the lease.
func (f *faultNet) leader() string {
	js, err := jetstream.New(f.watchers.node(f.desk.name).Conn())
	if err != nil {
		return f.active()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, "KV_"+subjects.ElectionBucket)
	if err != nil || s.CachedInfo().Cluster == nil || f.byName[s.CachedInfo().Cluster.Leader] == nil {
		return f.active()
	}
	return s.CachedInfo().Cluster.Leader
}

// act does one thing, and notes it.
func (f *faultNet) act(t *testing.T, e trace.Effect) {
	t.Helper()
	before := f.log.Now()
	err := f.do(t, e)
	line := trace.Line{Effect: &e}
	switch e.Act { // what takes things away may show before the act returns
	case trace.Kill, trace.Term, trace.Freeze, trace.ServiceDown, trace.Revoke, trace.Drain, trace.Cut, trace.LinkDown:
		line.At = before
	}
	f.log.Add(line)
	if err != nil {
		t.Errorf("%s %s%s: %v", e.Act, e.Process, e.Host, err)
	}
}

func (f *faultNet) do(t *testing.T, e trace.Effect) error {
	if d := f.daemons[e.Process]; d != nil {
		return f.onProcess(t, d, e)
	}
	switch e.Act {
	case trace.LinkDown:
		return f.onRouter("ip", "link", "set", "v-"+e.Host, "down")
	case trace.LinkUp:
		h := f.byName[e.Host]
		return errors.Join(f.onRouter("ip", "link", "set", "v-"+e.Host, "up"), f.onRouter("ip", "route", "replace", h.address+"/32", "dev", "v-"+e.Host))
	case trace.Loss:
		if e.N == 0 {
			return f.onRouter("nft", "flush", "chain", "inet", "faults", "loss")
		}
		return f.onRouter("nft", "add", "rule", "inet", "faults", "loss", "numgen", "random", "mod", "100", "<", fmt.Sprint(e.N), "drop")
	case trace.Delay:
		return f.delay(e.Host, time.Duration(e.N)*time.Millisecond, time.Duration(e.Jitter)*time.Millisecond)
	case trace.Rate:
		return f.rate(e.Host, e.N)
	case trace.Fill:
		return fill(filepath.Join(f.byName[e.Host].dir, "state", "fill"))
	case trace.Free:
		return os.Remove(filepath.Join(f.byName[e.Host].dir, "state", "fill"))
	case trace.Delete:
		return f.deleteBucket(e.Process)
	case trace.ReplayStatus:
		return f.replay(t, "probe-"+f.topology.Core[0], subjects.StatusTick, subjects.StatusDelta)
	case trace.Slow, trace.Drop:
		f.wan.change(e)
		return nil
	case trace.Authority:
		return f.changeAuthority(t, e.N)
	}
	return fmt.Errorf("the lab cannot %s", e.Act)
}

func (f *faultNet) onProcess(t *testing.T, d *daemonProc, e trace.Effect) error {
	node := string(d.Node)
	switch e.Act {
	case trace.Kill:
		d.p.kill(t)
	case trace.Term:
		return d.term()
	case trace.Start:
		f.mu.Lock()
		defer f.mu.Unlock()
		d.p.run(t)
	case trace.Freeze:
		return syscall.Kill(d.p.cmd.Process.Pid, syscall.SIGSTOP)
	case trace.Continue:
		return syscall.Kill(d.p.cmd.Process.Pid, syscall.SIGCONT)
	case trace.Stutter:
		f.stutter(d)
	case trace.Smooth:
		f.stutters[d.Name]()
	case trace.ServiceDown:
		return f.services[d.Name].Close()
	case trace.ServiceUp:
		f.serve(t, d)
	case trace.Drain, trace.Resume:
		return f.ask(node, string(e.Act))
	case trace.TwinStart, trace.TwinTerm, trace.TwinKill:
		return f.twin(t, d, e.Act)
	case trace.Build:
		d.p.argv[0] = f.builds[e.N]
	case trace.Wipe:
		return wipe(d.dir)
	case trace.Damage:
		return damage(filepath.Join(d.dir, "status.json"))
	case trace.Files:
		return limitFiles(d.p.cmd.Process.Pid, uint64(e.N))
	case trace.ReplayMember:
		return f.replay(t, node, subjects.Presence(d.Role, d.Node))
	case trace.Revoke:
		_, err := f.desk.try("ca", "revoke", node, "--ca-dir", f.ca, "--brokers", strings.Join(f.brokers, ","), "--cert", "watch-desk.crt", "--key", "watch-desk.key", "--ca", "trusted.crt")
		return err
	case trace.Reissue:
		f.certify(t, node, d.Role)
		f.install(t, d.p.host, node)
	case trace.Renew:
		if _, err := f.desk.try("ca", "renew", node+".crt", "--ca-dir", f.ca); err != nil {
			return err
		}
		f.install(t, d.p.host, node)
		return syscall.Kill(d.p.cmd.Process.Pid, syscall.SIGHUP)
	default:
		return fmt.Errorf("the lab cannot %s a process", e.Act)
	}
	return nil
}

// term ends a process gracefully; what takes longer than 10 s is killed.
func (d *daemonProc) term() error {
	if err := syscall.Kill(d.p.cmd.Process.Pid, syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-d.p.done:
		return nil
	case <-time.After(10 * time.Second):
		return errors.Join(errors.New("still running after 10 s"), syscall.Kill(-d.p.cmd.Process.Pid, syscall.SIGKILL))
	}
}

// stutter lets a process run for a fifth of the time.
func (f *faultNet) stutter(d *daemonProc) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	pid := d.p.cmd.Process.Pid
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
			wait(ctx, 200*time.Millisecond)
			_ = syscall.Kill(pid, syscall.SIGCONT)
			wait(ctx, 50*time.Millisecond)
		}
	}()
	f.stutters[d.Name] = func() { cancel(); <-done }
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// ask has a node drained or resumed, as an operator does: again if it does not answer, since another
// fault may have cut a route between the two.
func (f *faultNet) ask(node, verb string) (err error) {
	for range 8 {
		if err = f.askOnce(node, verb); !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	return err
}

func (f *faultNet) askOnce(node, verb string) error {
	n := f.watchers.node(f.desk.name)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	reply, err := n.Ask(ctx, subjects.AgentRequestFrom(n.ID(), subjects.NodeID(node), verb), nil)
	if err == nil && reply.Code != "" {
		err = fmt.Errorf("%s: %+v", reply.Code, reply)
	}
	return err
}

// twin runs a second process with the same certificate and a state of its own.
func (f *faultNet) twin(t *testing.T, d *daemonProc, act trace.Act) error {
	switch act {
	case trace.TwinStart:
		state := d.dir + "-twin"
		if err := os.MkdirAll(state, 0o700); err != nil {
			return err
		}
		argv := []string{thor, d.Program, "--config", string(d.Node) + "-" + d.Program + "-twin.toml"}
		d.twin = &process{host: d.p.host, name: d.p.name + "-twin", argv: argv, env: []string{"THOR_STATE=" + state}}
		d.twin.run(t)
		twin := d.twin
		t.Cleanup(func() { twin.kill(t) })
		return nil
	case trace.TwinTerm:
		return (&daemonProc{p: d.twin}).term()
	default:
		d.twin.kill(t)
		return nil
	}
}

func wipe(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// damage turns a bit in the middle of a file.
func damage(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 0x10
	return os.WriteFile(file, b, 0o600)
}

// limitFiles bounds the open files of a running process; 0 lifts the bound.
func limitFiles(pid int, n uint64) error {
	var now unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now); err != nil {
		return err
	}
	next := unix.Rlimit{Cur: n, Max: now.Max}
	if n == 0 {
		next.Cur = now.Max
	}
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &next, nil)
}

// fill writes a file until the disk is full.
func fill(file string) error {
	w, err := os.Create(file)
	if err != nil {
		return err
	}
	defer w.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for {
			if _, err := w.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
				break
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// onRouter runs a command on the router.
func (f *faultNet) onRouter(args ...string) error {
	return run("ip", append([]string{"netns", "exec", f.router}, args...)...)
}

// cut makes cuts, or heals them, all at one moment.
func (f *faultNet) cut(t *testing.T, steps []faults.Step) {
	t.Helper()
	var rules strings.Builder
	var done []trace.Effect
	at := f.log.Now()
	for _, s := range steps {
		verb := map[trace.Act]string{trace.Cut: "add", trace.Heal: "delete"}[s.Act]
		for _, e := range f.betweenHosts(s.Effect) {
			from, to := f.byName[e.From].address, f.byName[e.To].address
			if e.Port == 0 {
				fmt.Fprintf(&rules, "%s element inet faults cut { %s . %s }\n", verb, from, to)
			} else {
				fmt.Fprintf(&rules, "%s element inet faults port { %s . %s . %d }\n", verb, from, to, e.Port)
			}
			done = append(done, e)
		}
	}
	f.nft(t, rules.String())
	for _, e := range done {
		line := trace.Line{Effect: &e, At: at}
		if e.Act == trace.Heal {
			line.At = 0
		}
		f.log.Add(line)
	}
}

// betweenHosts is a cut between two hosts, or between each two of two sites; none where a
// symbol turned out to be the other one.
func (f *faultNet) betweenHosts(cut trace.Effect) (out []trace.Effect) {
	hosts := func(name string) []string {
		if s := f.topology.Sites[name]; s != nil {
			return s
		}
		return []string{name}
	}
	if cut.From == cut.To {
		return nil
	}
	for _, from := range hosts(cut.From) {
		for _, to := range hosts(cut.To) {
			e := cut
			e.From, e.To = from, to
			out = append(out, e)
		}
	}
	return out
}

// rate bounds what a host sends; 0 lifts the bound.
func (f *faultNet) rate(host string, kbit int) error {
	ns := f.byName[host].ns
	if kbit == 0 {
		return run("ip", "netns", "exec", ns, "tc", "qdisc", "del", "dev", "eth0", "root")
	}
	return run("ip", "netns", "exec", ns, "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", fmt.Sprintf("%dkbit", kbit), "burst", "8kb", "latency", "400ms")
}

func (f *faultNet) deleteBucket(name string) error {
	js, err := jetstream.New(f.watchers.node(f.desk.name).Conn())
	if err != nil {
		return err
	}
	for range 5 { // without a leader it is not answered
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err = js.DeleteStream(ctx, "KV_"+name)
		cancel()
		if err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
	}
	return err
}
