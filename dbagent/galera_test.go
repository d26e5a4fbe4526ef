package dbagent

import (
	"os"
	"strings"
	"testing"
	"time"

	"thor/dbagent/location"
	"thor/dbagent/location/galera"
	"thor/overlay/check"
	"thor/subjects"
)

const galeraProvider = "/usr/lib/galera/libgalera_smm.so"

// galeraNode is a running node of a cluster of two on loopback. The
// times are short, so that a lost node is noticed within about 2 s.
func galeraNode(t *testing.T, listen, peer string) *mariadb {
	t.Helper()
	if _, err := os.Stat(galeraProvider); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Galera is not installed (Debian package galera-4)")
		}
		t.Skip("Galera is not installed (Debian package galera-4)")
	}
	return startMariaDB(t,
		"--wsrep-on=ON", "--wsrep-provider="+galeraProvider, "--wsrep-cluster-name=thor", "--wsrep-cluster-address=gcomm://"+peer,
		"--wsrep-node-name="+listen, "--wsrep-node-address=127.0.0.1", "--wsrep-sst-method=skip", // the content of the second is nothing to us
		"--binlog-format=ROW", "--innodb-autoinc-lock-mode=2",
		"--wsrep-provider-options=gmcast.listen_addr=tcp://"+listen+";ist.recv_addr="+freeAddr(t)+
			";gcache.size=1M;evs.keepalive_period=PT0.3S;evs.suspect_timeout=PT1S;evs.inactive_timeout=PT1.5S;evs.inactive_check_period=PT0.3S",
	)
}

func (m *mariadb) wsrep(name string) string {
	_, v, _ := strings.Cut(m.Rows("SHOW GLOBAL STATUS LIKE '"+name+"'"), "\t")
	return v
}

// Each thing that keeps a node of a cluster from work, on real servers.
func TestAGaleraNodeThatMustNotBeUsedIsDown(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Galera cluster")
	}
	one, two := freeAddr(t), freeAddr(t)
	first := galeraNode(t, one, "")
	first.populate()
	second := galeraNode(t, two, one)
	eventually(t, "two nodes are one cluster", func() bool { return first.wsrep("wsrep_cluster_size") == "2" && first.wsrep("wsrep_ready") == "ON" })
	n, await := run(t, &locked{}, nil, Database{
		DSN: secretDSN(t, "mysql://thor@"+first.Addr()+"/thor"), Timing: check.Timing{Interval: 200 * time.Millisecond, Timeout: 200 * time.Millisecond},
	})
	await("in the primary component", subjects.Up, "")
	if id := first.wsrep("wsrep_cluster_state_uuid"); id == "" || n.announced().Attrs[location.AttrCluster] != id {
		t.Errorf("cluster %q is announced as %q", id, n.announced().Attrs[location.AttrCluster])
	}
	for _, c := range []struct{ bad, good, reason string }{
		{"wsrep_reject_queries=ALL", "wsrep_reject_queries=NONE", galera.Rejecting},
		{"wsrep_desync=ON", "wsrep_desync=OFF", galera.Desynced},
		{"wsrep_on=OFF", "wsrep_on=ON", galera.NotReplicating},
	} {
		first.SQL("SET GLOBAL " + c.bad)
		await(c.bad, subjects.Down, c.reason)
		first.SQL("SET GLOBAL " + c.good)
		await(c.good, subjects.Up, "")
	}

	// Half of a cluster of two that has lost the other half answers whatever touches
	// no table, and refuses all work.
	second.Kill()
	eventually(t, "the node that is left is outside", func() bool { return first.wsrep("wsrep_cluster_status") == "non-Primary" })
	if err := first.Try("SELECT * FROM thor.probe"); err == nil || !strings.Contains(err.Error(), "1047") {
		t.Errorf("a node outside the primary component works: %v", err)
	}
	await("outside the primary component", subjects.Down, galera.NonPrimary)
	first.SQL("SET GLOBAL wsrep_provider_options='pc.bootstrap=1'") // as an operator makes it one
	await("primary again", subjects.Up, "")
}

// A reader may use a node that lags behind, a writer may not.
func TestADesyncedNodeServesReaders(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Galera node")
	}
	node := galeraNode(t, freeAddr(t), "")
	node.populate()
	eventually(t, "the node is a cluster", func() bool { return node.wsrep("wsrep_ready") == "ON" })
	node.SQL("SET GLOBAL wsrep_desync=ON")
	for mode, want := range map[location.Mode]string{location.ReadOnly: "", location.ReadWrite: galera.Desynced} {
		d := Database{DSN: secretDSN(t, "mysql://thor@"+node.Addr()+"/thor"), Mode: mode, Timing: check.Timing{Timeout: patience, Interval: patience}}
		got := ""
		if f := ask(t, &mysqlProbe{db: d.withDefaults()}); f != nil {
			got = f.Text
		}
		if got != want {
			t.Errorf("%s: %q, want %q", mode, got, want)
		}
	}
}
