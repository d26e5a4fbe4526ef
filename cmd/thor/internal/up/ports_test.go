package up

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var testAddr = netip.MustParseAddr("127.83.99.1")

// A name server listens at its own address on the port that it is told for another one.
func TestPortsOfNameServersAreNotHandedOut(t *testing.T) {
	l, err := net.Listen("tcp", netip.AddrPortFrom(testAddr, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	next := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	low, high := next-2000, next+2000 // all of them, wherever the system begins
	var p ports
	defer p.release()
	for port := low; port <= high; port++ {
		p.told = append(p.told, port)
	}
	for range 300 {
		if port, err := p.take(testAddr); err != nil || port >= low && port <= high {
			t.Fatalf("%d, %v", port, err)
		}
	}
}

func TestNoPortIsHandedOutTwice(t *testing.T) {
	var p ports
	defer p.release()
	seen := make(map[int]bool)
	for range 800 { // of some 28,000: without holding them ten or so come twice
		port, err := p.take(testAddr)
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %d was handed out twice", port)
		}
		seen[port] = true
	}
	if port, err := p.prefer(testAddr, portSOAP); err != nil || port != portSOAP {
		t.Errorf("a free port that is wanted: %d, %v", port, err)
	}
	if port, err := p.prefer(testAddr, portSOAP); err != nil || port == portSOAP {
		t.Errorf("a port that is held already: %d, %v", port, err)
	}
	p.release()
	l, err := net.Listen("tcp", netip.AddrPortFrom(testAddr, portSOAP).String())
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	l.Close()
}

// No two servers of a network are told to listen at the same place, and
// network.json has what is written in the configurations.
func TestChildrenListenApart(t *testing.T) {
	dir := t.TempDir()
	l := &layout{Options: Options{
		Dir: dir, Domain: "thor.test", Nodes: 3, DNS: "127.0.0.1:5354", Loopback: "127.84", Binary: "/bin/true", Say: t.Logf,
	}}
	if err := l.prepare(); err != nil {
		t.Fatal(err)
	}
	listens := regexp.MustCompile(`(?m)^(?:http|listen|cluster_listen|lookup) = \[?"([0-9.]+:[0-9]+)"`)
	files, err := filepath.Glob(filepath.Join(dir, "*", "thor.toml"))
	if err != nil || len(files) < 11 {
		t.Fatalf("%d configurations, %v", len(files), err)
	}
	seen := make(map[string]string)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range listens.FindAllStringSubmatch(string(b), -1) {
			if seen[m[1]] != "" {
				t.Errorf("%s is in %s and in %s", m[1], seen[m[1]], f)
			}
			seen[m[1]] = f
		}
	}
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("node%d", i)
		if want := fmt.Sprintf("http://127.84.20.%d:9501", i); l.net.Local[name] != want || seen[want[len("http://"):]] == "" {
			t.Errorf("local of %s is %q", name, l.net.Local[name])
		}
		if l.net.HTTP[name] == "" || l.net.HTTP[name] == l.net.Local[name] {
			t.Errorf("http of %s is %q", name, l.net.HTTP[name])
		}
	}
}
