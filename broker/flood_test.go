package broker_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/identity"
	"thor/subjects"
)

// A process is a server in a process of its own, so that its memory and time
// are not mixed with its clients'.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string
	done func()
}

const childEnv = "THOR_FLOOD_CHILD" // kind,cert,key,ca,store

// TestFloodChild is no test but the server of one.
func TestFloodChild(t *testing.T) {
	args := strings.Split(os.Getenv(childEnv), ",")
	if len(args) != 6 {
		t.Skip("it is for TestBenchFlood")
	}
	creds, err := identity.Load(identity.Files{Cert: args[1], Key: args[2], CA: args[3]})
	if err != nil {
		t.Fatal(err)
	}
	if args[0] == "plain" {
		s, err := server.NewServer(&server.Options{
			Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, TLSConfig: creds.ServerTLS(), TLSHandshakeFirst: true, TLSTimeout: 10,
			WriteDeadline: 4 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		fmt.Printf("\nlistens %s\n", s.Addr())
		_, _ = io.Copy(io.Discard, os.Stdin)
		s.Shutdown()
		return
	}
	c := broker.Config{Credentials: creds, Listen: "127.0.0.1:0", StoreDir: args[4], LameDuck: -1, Limits: broker.Limits{Unauthenticated: 4096}}
	if args[0] == "open" { // without the limit of a node
		c.NodeConnections, c.NodeSubscriptions, c.PingInterval = 10_000, 1_000_000, 30*time.Second
	}
	if args[5] != "" {
		c.Advertise, c.Listen = "127.0.0.1", "127.0.0.1:0"
		c.ClusterListen, c.Routes = args[5], []string{"tls://" + args[5], "tls://127.0.0.2:6222"} // the second does not run
	}
	b, err := broker.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	<-b.Ready()
	fmt.Printf("\nlistens %s\n", strings.TrimPrefix(b.ClientURL(), "tls://"))
	_, _ = io.Copy(io.Discard, os.Stdin)
	cancel()
	<-ended
}

func child(t *testing.T, n *brokertest.Net, kind, cluster string) *process {
	t.Helper()
	f := n.Files("b1", subjects.EventServer)
	cmd := exec.Command(os.Args[0], "-test.run=^TestFloodChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{kind, f.Cert, f.Key, f.CA, filepath.Join(t.TempDir(), "store"), cluster}, ","))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd}
	p.done = sync.OnceFunc(func() { _ = in.Close(); _ = cmd.Wait() })
	t.Cleanup(p.done)
	for s := bufio.NewScanner(out); s.Scan(); {
		if a, ok := strings.CutPrefix(s.Text(), "listens "); ok {
			p.addr = a
			return p
		}
	}
	t.Fatal("the server does not start")
	return nil
}

// rss is the resident memory in KiB.
func (p *process) rss() int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	n, _ := strconv.Atoi(strings.Fields(rest)[0])
	return n
}

// cpu is the time it has used.
func (p *process) cpu() time.Duration {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	u, _ := strconv.Atoi(f[11])
	s, _ := strconv.Atoi(f[12])
	return time.Duration(u+s) * 10 * time.Millisecond
}

func (p *process) dial(o ...nats.Option) *nats.Conn {
	p.t.Helper()
	nc, err := nats.Connect("tls://"+p.addr, append(o, nats.Timeout(20*time.Second))...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(nc.Close)
	return nc
}

// TestBenchFlood prints what docs/adr/0016 promises; see `just bench-flood`.
func TestBenchFlood(t *testing.T) {
	if os.Getenv("THOR_BENCH_FLOOD") == "" {
		t.Skip("just bench-flood")
	}
	n := brokertest.New(t)
	t.Run("join under silent connections", func(t *testing.T) { benchJoin(t, n) })
	t.Run("memory of connections", func(t *testing.T) { benchConnections(t, n) })
	t.Run("memory of subscriptions", func(t *testing.T) { benchSubscriptions(t, n) })
	for range 2 {
		for _, kind := range []string{"plain", "open"} {
			t.Run("fan-out "+kind, func(t *testing.T) { benchFanOut(t, n, kind) })
		}
	}
}

func benchJoin(t *testing.T, n *brokertest.Net) {
	cluster := brokertest.Ports(t, 1)[0]
	p := child(t, n, "front", cluster)
	var opened []func() int
	for _, addr := range []string{p.addr, cluster} {
		o, stop := silent(t, addr, 6000)
		defer stop()
		opened = append(opened, o)
	}
	brokertest.Eventually(t, 60*time.Second, "silent connections", func() error {
		if a, b := opened[0](), opened[1](); a < 6000 || b < 6000 {
			return fmt.Errorf("%d and %d", a, b)
		}
		return nil
	})
	join := func(i int) time.Duration {
		begin := time.Now()
		nc := p.dial(n.Options(fmt.Sprintf("n%d", i), "sip_proxy")...)
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		return time.Since(begin).Round(time.Millisecond)
	}
	var all []time.Duration
	for i := range 20 {
		all = append(all, join(i))
	}
	t.Logf("20 joins under 2 × 6,000 silent connections: %v, RSS %d MiB", all, p.rss()>>10)
	// Later the kernel hands over those that it has kept.
	all = all[:0]
	for i := range 80 {
		all = append(all, join(i))
		<-time.After(250 * time.Millisecond)
	}
	slices.Sort(all)
	t.Logf("80 joins in the 20 s that follow: median %v, max %v", all[len(all)/2], all[len(all)-1])
}

const connections = 4000 // of one certificate

func benchConnections(t *testing.T, n *brokertest.Net) {
	for _, kind := range []string{"plain", "open", "front"} {
		p := child(t, n, kind, "")
		before := p.rss()
		creds := n.Credentials("n1", "media_relay")
		if kind == "open" {
			creds = n.Credentials("m1", subjects.Manager) // without rates
		}
		var live atomic.Int64
		var g sync.WaitGroup
		todo := make(chan struct{}, connections)
		for range connections {
			todo <- struct{}{}
		}
		close(todo)
		for range 32 {
			g.Go(func() {
				for range todo {
					c, err := tls.Dial("tcp", p.addr, creds.ClientTLS())
					if err != nil {
						continue
					}
					t.Cleanup(func() { _ = c.Close() })
					_ = c.SetDeadline(time.Now().Add(30 * time.Second))
					_, _ = c.Write([]byte("CONNECT {\"verbose\":false}\r\nSUB thor.status 1\r\nPING\r\n"))
					r := bufio.NewReader(c)
					for {
						line, err := r.ReadString('\n')
						if err != nil || strings.HasPrefix(line, "-ERR") {
							break
						}
						if strings.HasPrefix(line, "PONG") {
							live.Add(1)
							break
						}
					}
				}
			})
		}
		g.Wait()
		after := p.rss()
		t.Logf("%s: %d of %d connections live, RSS %d → %d MiB, %d KiB each", kind, live.Load(), connections, before>>10, after>>10, (after-before)/int(max(1, live.Load())))
		p.done()
	}
}

func benchSubscriptions(t *testing.T, n *brokertest.Net) {
	for _, kind := range []string{"open", "front"} {
		p := child(t, n, kind, "")
		before := p.rss()
		total, who, role := 0, "n1", subjects.MediaRelay
		if kind == "open" {
			who, role = "m1", subjects.Manager
		}
		for range 100 {
			nc, err := nats.Connect("tls://"+p.addr, append(n.Options(who, role), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
			if err != nil {
				continue
			}
			t.Cleanup(nc.Close)
			for i := range 1000 {
				if _, err := nc.Subscribe(fmt.Sprintf("_INBOX.%s.%d.%d", who, total, i), func(*nats.Msg) {}); err != nil {
					break
				}
			}
			if nc.Flush() == nil {
				total += 1000
			}
		}
		t.Logf("%s: %d of 100,000 subscriptions live, RSS %d → %d MiB", kind, total, before>>10, p.rss()>>10)
		p.done()
	}
}

func benchFanOut(t *testing.T, n *brokertest.Net, kind string) {
	const clients, messages = 1000, 100
	p := child(t, n, kind, "")
	var got atomic.Int64
	all := make(chan struct{})
	for range clients {
		nc := p.dial(n.Options("m2", subjects.Manager)...)
		if _, err := nc.Subscribe(subjects.StatusDelta, func(*nats.Msg) {
			if got.Add(1) == clients*messages {
				close(all)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	m := p.dial(n.Options("m1", subjects.Manager)...)
	body := make([]byte, 8<<10)
	begin, cpu := time.Now(), p.cpu()
	for range messages {
		if err := m.Publish(subjects.StatusDelta, body); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-all:
	case <-time.After(60 * time.Second):
		t.Fatalf("%d of %d", got.Load(), clients*messages)
	}
	took := time.Since(begin)
	t.Logf("%s: %d × 8 KiB to %d clients: %v, %.0f messages/s, CPU of the server %v", kind, messages, clients, took.Round(time.Millisecond),
		clients*messages/took.Seconds(), p.cpu()-cpu)
	p.done()
}
