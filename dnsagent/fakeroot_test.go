package dnsagent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"thor/dnsagent/dnssec"
	"thor/dnsagent/zone"
	"thor/subjects"
)

// A fakeRoot is an internet of its own, in a network namespace: the root, net and arpa by
// NSD, and two name servers of sipthor.net, with public addresses of both families.
type fakeRoot struct {
	ns      string
	dir     string
	servers [2]*server
	keys    *dnssec.Keys // nil: not signed
	signed  bool         // net is signed too, by Knot
}

const fakeRootPrefix = "thor-dns-"

// The addresses of the two name servers under test.
var (
	ours4 = [2]string{"81.23.228.129", "85.17.186.6"}
	ours6 = [2]string{"2a02:748:1:1::53", "2a00:c98:2030:1::53"}
)

// newFakeRoot starts all of it; with keys the zone is signed and net has its DS.
func newFakeRoot(t *testing.T, keys *dnssec.Keys, signedParent bool) *fakeRoot {
	t.Helper()
	need(t, "ip", "iproute2")
	need(t, "nsd", "nsd")
	need(t, "dig", "bind9-dnsutils")
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	sweepNamespaces()
	f := &fakeRoot{ns: fmt.Sprintf("%s%d-%d", fakeRootPrefix, os.Getpid(), time.Now().UnixNano()%100_000), dir: t.TempDir(), keys: keys, signed: signedParent}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	ip("netns", "add", f.ns)
	t.Cleanup(func() { ip("netns", "del", f.ns) })
	ip("-n", f.ns, "link", "set", "lo", "up")
	for _, a := range []string{"198.41.0.4", "199.9.14.201", "192.5.6.30", "192.33.14.30", ours4[0], ours4[1]} {
		ip("-n", f.ns, "addr", "add", a+"/32", "dev", "lo")
	}
	for _, a := range []string{"2001:503:ba3e::2:30", ours6[0], ours6[1]} {
		ip("-n", f.ns, "addr", "add", a+"/128", "dev", "lo", "nodad")
	}
	f.parents(t)
	eventually(t, "the root answers", func() bool {
		out, err := exec.Command("ip", "netns", "exec", f.ns, "dig", "@198.41.0.4", "+norec", "+tries=1", "+time=1", "net.", "NS").Output()
		return err == nil && strings.Contains(string(out), "a.gtld-servers.net.")
	})
	for i := range f.servers {
		f.servers[i] = f.start(t, i)
	}
	return f
}

// sweepNamespaces removes those of tests that were killed.
func sweepNamespaces() {
	all, _ := filepath.Glob("/run/netns/" + fakeRootPrefix + "*") // the pattern is good
	for _, path := range all {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), fakeRootPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			_ = exec.Command("ip", "netns", "del", filepath.Base(path)).Run()
		}
	}
}

const rootZone = `. 3600 SOA a.root-servers.net. hostmaster.root-servers.net. 1 14400 3600 604800 300
. 3600 NS a.root-servers.net.
. 3600 NS b.root-servers.net.
a.root-servers.net. 3600 A 198.41.0.4
a.root-servers.net. 3600 AAAA 2001:503:ba3e::2:30
b.root-servers.net. 3600 A 199.9.14.201
net. 3600 NS a.gtld-servers.net.
net. 3600 NS b.gtld-servers.net.
a.gtld-servers.net. 3600 A 192.5.6.30
b.gtld-servers.net. 3600 A 192.33.14.30
arpa. 3600 NS a.root-servers.net.
arpa. 3600 NS b.root-servers.net.
`

const netZone = `net. 3600 SOA a.gtld-servers.net. hostmaster.gtld-servers.net. 1 14400 3600 604800 300
net. 3600 NS a.gtld-servers.net.
net. 3600 NS b.gtld-servers.net.
a.gtld-servers.net. 3600 A 192.5.6.30
b.gtld-servers.net. 3600 A 192.33.14.30
a.root-servers.net. 3600 A 198.41.0.4
a.root-servers.net. 3600 AAAA 2001:503:ba3e::2:30
b.root-servers.net. 3600 A 199.9.14.201
sipthor.net. 3600 NS ns1.sipthor.net.
sipthor.net. 3600 NS ns2.sipthor.net.
`

const arpaZone = `arpa. 3600 SOA a.root-servers.net. hostmaster.root-servers.net. 1 14400 3600 604800 300
arpa. 3600 NS a.root-servers.net.
arpa. 3600 NS b.root-servers.net.
129.228.23.81.in-addr.arpa. 3600 PTR ns1.sipthor.net.
6.186.17.85.in-addr.arpa. 3600 PTR ns2.sipthor.net.
3.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.1.0.0.0.8.4.7.0.2.0.a.2.ip6.arpa. 3600 PTR ns1.sipthor.net.
3.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.3.0.2.8.9.c.0.0.0.a.2.ip6.arpa. 3600 PTR ns2.sipthor.net.
`

// parents serves the root, net and arpa.
func (f *fakeRoot) parents(t *testing.T) {
	t.Helper()
	glue := ""
	for i := range ours4 {
		glue += fmt.Sprintf("ns%d.sipthor.net. 3600 A %s\nns%[1]d.sipthor.net. 3600 AAAA %[3]s\n", i+1, ours4[i], ours6[i])
	}
	if f.keys != nil {
		for _, ds := range f.keys.DS("sipthor.net.") {
			glue += ds.String() + "\n"
		}
	}
	put(t, filepath.Join(f.dir, "root"), rootZone)
	put(t, filepath.Join(f.dir, "net"), netZone+glue)
	put(t, filepath.Join(f.dir, "arpa"), arpaZone)
	put(t, filepath.Join(f.dir, "hints"), ". 3600 NS a.root-servers.net.\n. 3600 NS b.root-servers.net.\na.root-servers.net. 3600 A 198.41.0.4\nb.root-servers.net. 3600 A 199.9.14.201\n")
	conf := fmt.Sprintf("server:\n server-count: 1\n username: \"\"\n database: \"\"\n pidfile: \"\"\n xfrdfile: \"\"\n rrl-ratelimit: 0\n zonelistfile: %q\n zonesdir: %[2]q\n xfrdir: %[2]q\n",
		filepath.Join(f.dir, "zonelist"), f.dir)
	zones, addresses := map[string]string{".": "root", "arpa.": "arpa"}, []string{"198.41.0.4", "199.9.14.201", "2001:503:ba3e::2:30"}
	if f.signed {
		f.knot(t)
	} else {
		zones["net."] = "net"
		addresses = append(addresses, "192.5.6.30", "192.33.14.30")
	}
	for _, a := range addresses {
		conf += " ip-address: " + a + "\n"
	}
	conf += "remote-control:\n control-enable: no\n"
	for name, file := range zones {
		conf += fmt.Sprintf("zone:\n name: %q\n zonefile: %s\n", name, file)
	}
	daemon(t, "ip", "netns", "exec", f.ns, "nsd", "-d", "-c", put(t, filepath.Join(f.dir, "nsd.conf"), conf))
}

// knot serves net, signed.
func (f *fakeRoot) knot(t *testing.T) {
	t.Helper()
	need(t, "knotd", "knot")
	conf := put(t, filepath.Join(f.dir, "knot.conf"), fmt.Sprintf(`server:
    listen: [192.5.6.30@53, 192.33.14.30@53]
    rundir: %[1]s
database:
    storage: %[1]s
policy:
  - id: one
    algorithm: ecdsap256sha256
    single-type-signing: on
zone:
  - domain: net
    storage: %[1]s
    file: net
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
    dnssec-signing: on
    dnssec-policy: one
`, f.dir))
	daemon(t, "ip", "netns", "exec", f.ns, "knotd", "-c", conf)
}

// start runs one of the name servers, in the namespace.
func (f *fakeRoot) start(t *testing.T, i int) *server {
	t.Helper()
	views := make(fakeSource)
	cfg := config(nil, views)
	cfg.Listen = []string{ours4[i] + ":53", "[" + ours6[i] + "]:53"}
	cfg.Log = zerolog.New(zerolog.NewTestWriter(t))
	cfg.NSID = fmt.Sprintf("ns%d", i+1)
	cfg.Zone = zone.DefaultConfig("sipthor.net")
	cfg.Zone.NameServers = []string{"ns1.sipthor.net", "ns2.sipthor.net"}
	cfg.Zone.Static = []string{"@ MX 10 mail", "mail A 81.23.228.130", "www CNAME proxy"}
	for k := range ours4 {
		cfg.Zone.Static = append(cfg.Zone.Static, fmt.Sprintf("ns%d 3600 A %s", k+1, ours4[k]), fmt.Sprintf("ns%d 3600 AAAA %s", k+1, ours6[k]))
	}
	if f.keys != nil {
		text, err := f.keys.Text()
		if err != nil {
			t.Fatal(err)
		}
		cfg.KeyFile = put(t, filepath.Join(f.dir, fmt.Sprintf("keys%d", i)), text)
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.wait = time.Minute
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		err := enterNamespace(f.ns)
		if err == nil {
			err = a.Run(ctx)
		}
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	s := &server{Agent: a, views: views}
	s.show(t, network2009(t), nil)
	select {
	case <-a.Ready():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return s
}

// enterNamespace moves the thread there.
func enterNamespace(name string) error {
	h, err := os.Open("/run/netns/" + name)
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()
	return unix.Setns(int(h.Fd()), unix.CLONE_NEWNET)
}

// run runs a program in the namespace, at most for two minutes.
func (f *fakeRoot) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", f.ns, program}, args...)...)
	cmd.Dir = f.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// churn has proxies come and go on both name servers until the test calls end.
func (f *fakeRoot) churn(t *testing.T) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		st := network2009(t)
		for i := 1; sleep(ctx, 300*time.Millisecond); i++ {
			next := st.Clone()
			next.Generation = st.Generation + uint64(i)
			for k := range i % 5 {
				m := subjects.Member{Node: nodeID(k), State: subjects.Up}
				m.Addresses = append(m.Addresses, addr4(81, 23, 229, byte(k+1)))
				next.Put(subjects.SIPProxy, m)
			}
			for _, s := range f.servers {
				s.show(t, next, nil)
			}
		}
	}()
	return func() { cancel(); <-ended }
}
