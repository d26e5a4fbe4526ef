//go:build e2e

package e2e_test

import (
	"database/sql"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"thor/dbagent/location"
	"thor/subjects"
)

const galeraNodes = 3

// A cluster is a network whose database is a Galera cluster, while clients write.
type cluster struct {
	*network
	t     testing.TB
	soap  *soapClient
	table string // of nftables, while a node is cut off; unique on this machine

	stop          chan struct{}
	wg            sync.WaitGroup
	acked, failed atomic.Int64

	mu  sync.Mutex
	all []*written
}

func startCluster(t testing.TB, loopback string) *cluster {
	t.Helper()
	need(t, "mariadbd", "mariadb-server")
	need(t, "nft", "nftables")
	if _, err := os.Stat("/usr/lib/galera/libgalera_smm.so"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Galera is missing: Debian package galera-4")
		}
		t.Skip("Galera is missing: Debian package galera-4")
	}
	needRoot(t, "cutting a node off")
	c := &cluster{network: startNetwork(t, loopback, "--galera", "--nodes", "1", "--damping=false"), t: t, stop: make(chan struct{}), table: fmt.Sprintf("thor_e2e_%d", os.Getpid())}
	t.Cleanup(func() { _ = exec.Command("nft", "delete", "table", "ip", c.table).Run() }) // usually there is none
	c.whole()
	c.soap = c.network.soap(t)
	eventually(t, 30*time.Second, "a domain is added", func() bool {
		_, err := c.soap.call("Sip", "addDomain", "<domain><domain>"+sipDomain+"</domain></domain>")
		return err == nil || strings.Contains(err.Error(), "exists")
	})
	return c
}

// ask is what a node answers to a question, empty if it does not.
func (c *cluster) ask(i int, query string) string {
	out, _ := exec.Command("timeout", "3", "mariadb", "--no-defaults", "--socket="+filepath.Join(c.dir, fmt.Sprintf("galera%d", i), "sock"), "-uroot", "-BN", "-e", query).Output()
	return strings.TrimSpace(string(out))
}

// whole waits until all nodes are synced and announced, and the first is used.
func (c *cluster) whole() {
	c.t.Helper()
	for i := 1; i <= galeraNodes; i++ {
		eventually(c.t, 90*time.Second, fmt.Sprintf("galera%d is synced with two others", i), func() bool {
			return c.ask(i, "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_size', 'wsrep_local_state') AND Value IN ('3', '4')") == "wsrep_local_state\t4\nwsrep_cluster_size\t3"
		})
	}
	eventually(c.t, 30*time.Second, "three databases of one cluster are up", func() bool {
		up := map[string]int{}
		for _, m := range c.status().Roles[subjects.Database] {
			if m.State == subjects.Up && m.Attrs[location.AttrCluster] != "" {
				up[m.Attrs[location.AttrCluster]]++
			}
		}
		return maps.Equal(up, map[string]int{c.ask(1, "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'wsrep_cluster_state_uuid'"): galeraNodes})
	})
	eventually(c.t, 30*time.Second, "the first one is used", func() bool { return c.used(1) })
}

// used reports whether the provisioning server says that it uses the i-th node.
func (c *cluster) used(i int) bool { return strings.Contains(c.lastUsed(), fmt.Sprintf(".13.%d:", i)) }

// lastUsed is the newest line by which the provisioning server says which database it uses.
func (c *cluster) lastUsed() (line string) {
	b, _ := os.ReadFile(filepath.Join(c.dir, "provisioning1", "log"))
	for l := range strings.Lines(string(b)) {
		if strings.Contains(l, "database in use") {
			line = l
		}
	}
	return line
}

// newWriter adds an account to those that are compared in the end.
func (c *cluster) newWriter(user string) *written {
	w := &written{user: user}
	c.mu.Lock()
	c.all = append(c.all, w)
	c.mu.Unlock()
	return w
}

// load has clients write one after the other until end.
func (c *cluster) load(clients int) {
	for k := range clients {
		own := make([]*written, 5)
		for i := range own {
			own[i] = c.newWriter(fmt.Sprintf("w%d-%d", k, i))
		}
		c.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-c.stop:
					return
				case <-time.After(20 * time.Millisecond): // others run here too
				}
				if own[i%len(own)].write(c.soap, fmt.Sprintf("secret%d", i)) == nil {
					c.acked.Add(1)
				} else {
					c.failed.Add(1)
				}
			}
		})
	}
}

// A fault is done to the node that is written to.
type galeraFault struct {
	name     string
	act, end func(c *cluster, i int)
}

var (
	galeraKilled = galeraFault{
		"kill -9",
		func(c *cluster, i int) { c.kill9(c.t, fmt.Sprintf("galera%d", i)) },
		func(c *cluster, i int) {
			name := fmt.Sprintf("galera%d", i)
			eventually(c.t, 10*time.Second, name+" has ended", func() bool { return !c.runs(c.t, name) })
			c.control(c.t, "start", name)
		},
	}
	// The other nodes do not reach it; clients and its locator do.
	galeraParted = galeraFault{
		"cut off from the cluster",
		func(c *cluster, i int) { c.cut(i, "ip saddr != @own", "ip daddr != @own") },
		func(c *cluster, i int) { c.heal() },
	}
	// The whole machine: clients do not reach it, its locator does not reach the network.
	galeraAlone = galeraFault{
		"host cut off",
		func(c *cluster, i int) {
			c.freeze(i, syscall.SIGSTOP)
			c.cut(i, "", "")
		},
		func(c *cluster, i int) {
			c.heal()
			c.freeze(i, syscall.SIGCONT)
		},
	}
)

func (c *cluster) freeze(i int, s syscall.Signal) {
	if err := syscall.Kill(c.pid(c.t, fmt.Sprintf("database%d", i)), s); err != nil {
		c.t.Fatal(err)
	}
}

// cut drops what goes to the i-th node's address if it comes from elsewhere by from, and
// what comes from it if it goes elsewhere by to. Programs that connect to an address of
// loopback have it too.
func (c *cluster) cut(i int, from, to string) {
	c.t.Helper()
	own := strings.Split(strings.TrimPrefix(c.Brokers[0], "tls://"), ".10.")[0] + fmt.Sprintf(".13.%d", i)
	rules := fmt.Sprintf("table ip %s {\n chain out {\n type filter hook output priority 0;\n ip daddr %s %s drop\n ip saddr %s %s drop\n }\n}\n", c.table, own, from, own, to)
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(rules, "@own", own))
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("nft: %v: %s", err, out)
	}
}

func (c *cluster) heal() {
	c.t.Helper()
	if out, err := exec.Command("nft", "delete", "table", "ip", c.table).CombinedOutput(); err != nil {
		c.t.Fatalf("nft: %v: %s", err, out)
	}
}

// hurt does f to the node in use, and returns how long it takes until a write that a
// client began afterwards is acknowledged. The cluster is whole again in the end.
func (c *cluster) hurt(f galeraFault, name string) time.Duration {
	c.t.Helper()
	f.act(c, 1)
	began := time.Now()
	took := c.firstWrite(name)
	c.t.Logf("%6d ms  %s: a write is acknowledged elsewhere", took.Milliseconds(), f.name)
	if c.used(1) {
		c.t.Errorf("%s: after %s the first node is used", f.name, time.Since(began))
	}
	f.end(c, 1)
	c.whole()
	return took
}

// firstWrite begins a write each 100 ms, whatever became of those before.
func (c *cluster) firstWrite(name string) time.Duration {
	c.t.Helper()
	const most = 30 * time.Second
	began := time.Now()
	done := make(chan time.Duration, int(most/(100*time.Millisecond))+1)
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for k := 0; time.Since(began) < most; k++ {
		w := c.newWriter(fmt.Sprintf("%s-%d", name, k))
		wg.Go(func() {
			if w.write(c.soap, "secret") == nil {
				done <- time.Since(began)
			}
		})
		select {
		case took := <-done:
			return took
		case <-tick.C:
		}
	}
	c.t.Fatalf("no write is acknowledged within %s", most)
	return 0
}

// lost ends the load and counts what was acknowledged and is not at each node.
func (c *cluster) lost() (lost int) {
	c.t.Helper()
	close(c.stop)
	c.wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 1; i <= galeraNodes; i++ {
		db, err := sql.Open("mysql", "root@unix("+filepath.Join(c.dir, fmt.Sprintf("galera%d", i), "sock")+")/thor")
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err := db.Exec("SET GLOBAL wsrep_sync_wait = 1"); err != nil { // of the connections to come
			c.t.Fatal(err)
		}
		db.SetMaxIdleConns(-1)
		for _, w := range c.all {
			if _, err := w.stored(db); err != nil {
				c.t.Errorf("galera%d: %s: %v", i, w.user, err)
				lost++
			}
		}
		_ = db.Close()
	}
	c.t.Logf("%d writes acknowledged, %d not; %d accounts at three nodes: %d acknowledged writes lost", c.acked.Load(), c.failed.Load(), len(c.all), lost)
	return lost
}

// A provisioning server in front of a real cluster: whatever happens to the node that it
// writes to, it goes on at another one, and what it acknowledged is at each node.
func TestGalera(t *testing.T) {
	c := startCluster(t, "127.145")
	c.load(3)
	for k, f := range []galeraFault{galeraParted, galeraKilled} {
		if took := c.hurt(f, fmt.Sprintf("p%d", k)); took > 6*time.Second {
			t.Errorf("%s: a write is acknowledged after %s, must be 6 s", f.name, took)
		}
	}
	if c.lost() > 0 || c.acked.Load() == 0 {
		t.Errorf("of %d acknowledged writes some are lost, or there are none", c.acked.Load())
	}
}
