package dbagent

import (
	"os"
	"strings"
	"testing"
	"time"

	"thor/overlay/check"
	"thor/subjects"
)

const galeraProvider = "/usr/lib/galera/libgalera_smm.so"

// galera is a running node of a cluster of two on loopback. The
// times are short, so that a lost node is noticed within about 2 s.
func galera(t *testing.T, listen, peer string) *mariadb {
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

// Half of a cluster of two that has lost the other half answers whatever touches
// no table, and refuses all work.
func TestAGaleraNodeOutsideThePrimaryComponentIsDown(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Galera cluster")
	}
	one, two := freeAddr(t), freeAddr(t)
	first := galera(t, one, "")
	first.populate()
	second := galera(t, two, one)
	eventually(t, "two nodes are one cluster", func() bool { return first.wsrep("wsrep_cluster_size") == "2" && first.wsrep("wsrep_ready") == "ON" })
	_, await := run(t, &locked{}, nil, Database{
		DSN: secretDSN(t, "mysql://thor@"+first.Addr()+"/thor"), Timing: check.Timing{Interval: 200 * time.Millisecond, Timeout: 200 * time.Millisecond},
	})
	await("in the primary component", subjects.Up, "")
	second.Kill()
	eventually(t, "the node that is left is outside", func() bool { return first.wsrep("wsrep_cluster_status") == "non-Primary" })
	if err := first.Try("SELECT * FROM thor.probe"); err == nil || !strings.Contains(err.Error(), "1047") {
		t.Errorf("a node outside the primary component works: %v", err)
	}
	await("outside the primary component", subjects.Down, "not ready for work")
	first.SQL("SET GLOBAL wsrep_provider_options='pc.bootstrap=1'") // as an operator makes it one
	await("primary again", subjects.Up, "")
}
