//go:build e2e

package e2e_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"thor/identity"
	"thor/subjects"
)

// A scaleNet is three brokers, three managers and one name server, child
// processes of the test, and the authority that certifies the members.
type scaleNet struct {
	dir     string
	domain  string
	ca      *identity.Authority
	caKey   crypto.Signer
	key     *ecdsa.PrivateKey // of all light members: a key each would cost the test, and shows nothing
	roots   *x509.CertPool
	brokers []string // host:port
	dns     string
	daemons []*scaleDaemon
}

// A scaleDaemon is one child process.
type scaleDaemon struct {
	name, command, config string
	cmd                   *exec.Cmd
	done                  chan struct{}
	ended                 bool // on purpose
}

const (
	scaleLoopback = "127.93"
	scaleServers  = 3         // brokers, and managers
	scaleProbes   = "probe_a" // the role whose members are killed and frozen: few enough for one DNS answer
)

// startScale makes the files of the network and starts its processes.
func startScale(t testing.TB) *scaleNet {
	t.Helper()
	n := &scaleNet{dir: t.TempDir(), domain: "scale.test", dns: scaleLoopback + ".12.1:5353"}
	var err error
	if n.ca, err = identity.Init(filepath.Join(n.dir, "ca"), n.domain, identity.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	n.loadKeys(t)
	var routes, urls []string
	for i := 1; i <= scaleServers; i++ {
		n.brokers = append(n.brokers, fmt.Sprintf("%s.10.%d:4222", scaleLoopback, i))
		urls = append(urls, fmt.Sprintf("%q", "tls://"+n.brokers[i-1]))
		routes = append(routes, fmt.Sprintf("\"tls://%s.10.%d:6222\"", scaleLoopback, i))
	}
	n.files(t, "operator", netip.Addr{}, subjects.Operator, subjects.Monitor)
	for i := 1; i <= scaleServers; i++ {
		n.daemon(t, fmt.Sprintf("broker%d", i), "broker", 10, i, urls, subjects.EventServer, fmt.Sprintf(
			"[broker]\nlisten = %q\ncluster_listen = \"%s.10.%d:6222\"\nroutes = [%s]\n", n.brokers[i-1], scaleLoopback, i, strings.Join(routes, ", ")))
	}
	for i := 1; i <= scaleServers; i++ {
		n.daemon(t, fmt.Sprintf("manager%d", i), "manager", 11, i, urls, subjects.Manager, "[manager]\ndamping = false\n")
	}
	n.daemon(t, "dns1", "dns", 12, 1, urls, subjects.DNSManager, fmt.Sprintf(
		"[dns]\nlisten = [%q]\n[dns.slices]\n%s = 8\n", n.dns, scaleProbes))
	t.Cleanup(func() { n.stop(t) })
	for _, d := range n.daemons {
		d.start(t)
	}
	return n
}

// loadKeys reads the authority's key, and makes the one of all light members.
func (n *scaleNet) loadKeys(t testing.TB) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.dir, "ca", "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	n.caKey = key.(crypto.Signer)
	if n.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	n.roots = x509.NewCertPool()
	n.roots.AddCert(n.ca.Certificate())
}

// certificate certifies a light member. It is signed here, since the authority
// notes each certificate that it issues on disk.
func (n *scaleNet) certificate(node subjects.NodeID, addr netip.Addr, role subjects.Role) (*tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{n.domain}, OrganizationalUnit: []string{string(role)}, CommonName: string(node)},
		NotBefore:    time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: n.domain, Path: "/node/" + string(node)}},
		IPAddresses: []net.IP{addr.AsSlice()},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, n.ca.Certificate(), n.key.Public(), n.caKey)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: n.key}, nil
}

// files makes a directory with a certificate, its key and the authority's.
func (n *scaleNet) files(t testing.TB, node string, addr netip.Addr, roles ...subjects.Role) identity.Files {
	t.Helper()
	req := identity.Request{Node: subjects.NodeID(node), Roles: roles}
	if addr.IsValid() {
		req.Addresses = []netip.Addr{addr}
	}
	cert, key, err := n.ca.Issue(req)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(n.dir, node)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f := identity.Files{Cert: filepath.Join(dir, "node.crt"), Key: filepath.Join(dir, "node.key"), CA: filepath.Join(dir, "ca.crt")}
	for path, content := range map[string][]byte{f.Cert: cert, f.Key: key, f.CA: n.ca.CertificatePEM()} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// daemon adds a child that runs a subcommand of thor.
func (n *scaleNet) daemon(t testing.TB, name, command string, group, i int, urls []string, role subjects.Role, section string) {
	t.Helper()
	n.files(t, name, netip.MustParseAddr(fmt.Sprintf("%s.%d.%d", scaleLoopback, group, i)), role)
	dir := filepath.Join(n.dir, name)
	brokers := ""
	if command != "broker" {
		brokers = "brokers = [" + strings.Join(urls, ", ") + "]\n"
	}
	toml := fmt.Sprintf("[network]\ndomain = %q\n%scertificate = \"node.crt\"\nkey = \"node.key\"\nca = \"ca.crt\"\nstate = \"state\"\n\n[log]\nformat = \"console\"\naudit = \"audit.log\"\n\n%s",
		n.domain, brokers, section)
	config := filepath.Join(dir, "thor.toml")
	if err := os.WriteFile(config, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	n.daemons = append(n.daemons, &scaleDaemon{name: name, command: command, config: config})
}

// start starts d, for the first time or again. The kernel kills it with the test.
func (d *scaleDaemon) start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(filepath.Dir(d.config), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(thor, d.command, "--config", d.config)
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Dir(d.config), log, log
	// Eight processes share the machine: each with all of its processors would spend
	// time on the contest alone.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	// A session each, as systemd would make: Linux shares the processor among sessions.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = cmd.Wait() }()
	d.cmd, d.done, d.ended = cmd, done, false
}

// end ends d by a signal and waits for it.
func (d *scaleDaemon) end(s syscall.Signal) {
	if d.cmd == nil {
		return
	}
	d.ended = true
	_ = d.cmd.Process.Signal(s)
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.done
	}
}

func (n *scaleNet) stop(t testing.TB) {
	for _, d := range n.daemons {
		select {
		case <-d.done:
			if !d.ended {
				t.Errorf("%s ended", d.name)
			}
		default:
		}
		d.end(syscall.SIGKILL)
	}
	if !t.Failed() {
		return
	}
	for _, d := range n.daemons {
		b, _ := os.ReadFile(filepath.Join(filepath.Dir(d.config), "log"))
		lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
		t.Logf("--- %s\n%s", d.name, bytes.Join(lines[max(0, len(lines)-12):], []byte("\n")))
	}
}

// find is the daemon of that name.
func (n *scaleNet) find(name string) *scaleDaemon {
	for _, d := range n.daemons {
		if d.name == name {
			return d
		}
	}
	return nil
}

// A usage is what processes used of the machine.
type scaleUsage struct {
	brokers, managers, dns, self time.Duration
	rss, dnsRSS                  int64 // of brokers and managers; of the name server
}

// use adds up what the daemons and this process have used so far.
func (n *scaleNet) use(t testing.TB) (u scaleUsage) {
	t.Helper()
	for _, d := range n.daemons {
		pid := d.cmd.Process.Pid
		cpu := onCPU(t, pid)
		switch d.command {
		case "broker":
			u.brokers += cpu
		case "manager":
			u.managers += cpu
		default:
			u.dns += cpu
			u.dnsRSS += residentSet(t, pid)
			continue
		}
		u.rss += residentSet(t, pid)
	}
	u.self = onCPU(t, os.Getpid())
	return u
}

func (u scaleUsage) since(o scaleUsage) scaleUsage {
	return scaleUsage{u.brokers - o.brokers, u.managers - o.managers, u.dns - o.dns, u.self - o.self, u.rss, u.dnsRSS}
}

// cores says what was used over d, in cores.
func (u scaleUsage) cores(d time.Duration) string {
	of := func(x time.Duration) float64 { return float64(x) / float64(d) }
	return fmt.Sprintf("brokers %.3f + managers %.3f = %.3f cores; name server %.3f; harness %.3f; RSS of brokers and managers %d MiB",
		of(u.brokers), of(u.managers), of(u.brokers+u.managers), of(u.dns), of(u.self), u.rss>>20)
}

func residentSet(t testing.TB, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
