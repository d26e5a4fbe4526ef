//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"thor/cmd/thor/internal/up"
	"thor/identity"
	"thor/subjects"
)

// prometheus is a real one that scrapes a network every second, with the alarms of
// deploy/prometheus.
type prometheus struct{ url string }

func (n *network) prometheus(t *testing.T) *prometheus {
	t.Helper()
	bin := need(t, "prometheus", "prometheus")
	dir := filepath.Join(n.dir, "prometheus")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs("../../../deploy/prometheus/thor.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n- job_name: thor\n  static_configs:\n", rules)
	for name, url := range n.HTTP {
		i := slices.IndexFunc(n.Processes, func(p up.Process) bool { return p.Name == name })
		fmt.Fprintf(&b, "  - targets: [%q]\n    labels: {daemon: %q}\n", strings.TrimPrefix(url, "http://"), n.Processes[i].Command)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeDNSPort(t)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(bin, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return &prometheus{url: "http://" + address}
}

// get asks the API; false: it does not answer yet.
func (p *prometheus) get(path string, out any) bool {
	r, err := http.Get(p.url + path)
	if err != nil {
		return false
	}
	defer r.Body.Close()
	return r.StatusCode == http.StatusOK && json.NewDecoder(r.Body).Decode(out) == nil
}

// raised are the alarms whose expression is true, whether or not it has been for long
// enough; evaluated: Prometheus has looked at all of them.
func (p *prometheus) raised() (raised []string, evaluated bool) {
	var a struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, State, Health, LastError string }
			}
		}
	}
	if !p.get("/api/v1/rules?type=alert", &a) {
		return nil, false
	}
	for _, g := range a.Data.Groups {
		for _, r := range g.Rules {
			evaluated = true
			if r.Health != "ok" {
				return nil, false
			}
			if r.State != "inactive" {
				raised = append(raised, r.Name)
			}
		}
	}
	return raised, evaluated
}

// upTargets is how many daemons were scraped.
func (p *prometheus) upTargets() int {
	var a struct {
		Data struct {
			ActiveTargets []struct{ Health string }
		}
	}
	up := 0
	if p.get("/api/v1/targets?state=active", &a) {
		for _, x := range a.Data.ActiveTargets {
			if x.Health == "up" {
				up++
			}
		}
	}
	return up
}

// alarmsLeft are those that no fault has raised yet.
type alarmsLeft struct {
	t    *testing.T
	p    *prometheus
	left []string
}

// raise waits until each of the alarms is raised; none of them was before.
func (a *alarmsLeft) raise(why string, names ...string) {
	a.t.Helper()
	eventually(a.t, 60*time.Second, why+": "+strings.Join(names, ", "), func() bool {
		raised, _ := a.p.raised()
		return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(raised, n) })
	})
	a.left = slices.DeleteFunc(a.left, func(n string) bool { return slices.Contains(names, n) })
}

// In a network without faults no alarm is raised, and each is by a fault of its kind.
func TestAlarmsAreRaised(t *testing.T) {
	need(t, "mariadbd", "mariadb-server")
	need(t, "pdns_server", "pdns-server")
	needRoot(t, "mounting a small disk")
	disk := smallDisk(t)
	n := startNetwork(t, "127.147", "--nodes", "2", "--powerdns", "--damping=false")
	n.control(t, "stop", "dns1", "broker3")
	n.edit(t, "dns1", "[dns]\n", "[dns]\ncheck_every = \"10s\"\n")
	n.edit(t, "broker3", "[broker]\n", fmt.Sprintf("[broker]\nstore = %q\n", disk))
	n.control(t, "start", "broker3", "dns1")
	n.reload(t)
	p := n.prometheus(t)
	eventually(t, 60*time.Second, "all daemons are scraped, and no alarm is raised", func() bool {
		raised, evaluated := p.raised()
		return evaluated && p.upTargets() == len(n.HTTP) && len(raised) == 0
	})
	a := &alarmsLeft{t: t, p: p, left: alarmNames(t)}
	n.breakServices(t, a)
	n.breakManagers(t, a)
	if len(a.left) > 0 {
		t.Errorf("no fault for %v", a.left)
	}
}

// alarmNames are those of the rules.
func alarmNames(t *testing.T) (out []string) {
	b, err := os.ReadFile("../../../deploy/prometheus/thor.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if _, name, ok := strings.Cut(l, "- alert: "); ok {
			out = append(out, strings.TrimSpace(name))
		}
	}
	return out
}

// smallDisk is a file system of its own, so that it can be filled.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128m,mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// edit replaces a part of a daemon's file.
func (n *network) edit(t *testing.T, name, old, text string) {
	t.Helper()
	file := filepath.Join(n.dir, name, "thor.toml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("%q is not in %s", old, file)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), old, text, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (n *network) hangUp(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Kill(n.pid(t, name), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// breakServices has what members need fail.
func (n *network) breakServices(t *testing.T, a *alarmsLeft) {
	n.edit(t, "dns2", "[dns]\n", "[dns]\nstatic = [\"@ 60 IN TXT other\"]\n")
	n.hangUp(t, "dns2")
	room := filepath.Join(a.storeOf(n), "room")
	if err := os.WriteFile(room, make([]byte, 119<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	a.raise("a full disk", "ThorBrokerDiskFull")
	if err := os.Remove(room); err != nil {
		t.Fatal(err)
	}

	n.expiring(t, "node2")
	a.raise("a certificate of three weeks in its last day", "ThorCertificateEndsSoon")

	c := n.soap(t)
	n.kill9(t, "mariadb")
	eventually(t, 30*time.Second, "calls that the dead database does not answer raise the alarm", func() bool {
		_, _ = c.call("Sip", "addDomain", "<domain><domain>example.com</domain></domain>")
		raised, _ := a.p.raised()
		return slices.Contains(raised, "ThorProvisioningFailing")
	})
	a.raise("a dead database", "ThorProvisioningFailing")
	n.control(t, "stop", "node1-sip", "node2-sip") // and the zone changes
	a.raise("two dead proxies", "ThorCheckFailing", "ThorRoleBelowExpectation", "ThorMemberLost", "ThorGuardHolds")
	a.raise("another zone configuration", "ThorNameServersDiffer")
}

// storeOf is the small disk, as broker3's file names it.
func (a *alarmsLeft) storeOf(n *network) string {
	a.t.Helper()
	b, err := os.ReadFile(filepath.Join(n.dir, "broker3", "thor.toml"))
	if err != nil {
		a.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "store = \"")
	dir, _, _ := strings.Cut(rest, "\"")
	return dir
}

// expiring gives a node a certificate that began long ago and ends tomorrow.
func (n *network) expiring(t *testing.T, node string) {
	t.Helper()
	ca, err := identity.Open(filepath.Join(n.dir, "ca"))
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(identity.Request{
		Node: subjects.NodeID(node), Roles: []subjects.Role{subjects.SIPProxy}, Addresses: []netip.Addr{netip.MustParseAddr("127.147.20.2")},
		NotBefore: time.Now().Add(-20 * 24 * time.Hour), Validity: 21 * 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"node.crt": cert, "node.key": key} {
		if err := os.WriteFile(filepath.Join(n.dir, node, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.hangUp(t, node)
}

// breakManagers has managers fail in turn, then all, and then two of three brokers.
func (n *network) breakManagers(t *testing.T, a *alarmsLeft) {
	for range 3 {
		active, epoch := string(n.status().Manager), n.status().Epoch
		n.kill9(t, active)
		eventually(t, 20*time.Second, "another manager after "+active, func() bool { return n.status().Epoch > epoch })
		n.control(t, "start", active)
	}
	a.raise("three managers that died", "ThorElectionFlapping")
	for i := range 3 {
		n.kill9(t, fmt.Sprintf("manager%d", i+1))
	}
	a.raise("no manager", "ThorNoActiveManager", "ThorDaemonDown")
	n.kill9(t, "broker2")
	n.kill9(t, "broker3")
	a.raise("two brokers of three are dead", "ThorBrokerAlone", "ThorJetStreamUnhealthy", "ThorNameServerBehind")
	a.raise("a database that PowerDNS lacks", "ThorPowerDNSBehind")
}
