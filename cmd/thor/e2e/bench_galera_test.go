//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"thor/subjects"
)

// TestBenchGalera prints how soon a provisioning server writes to another node of a
// cluster, and what is lost. It runs only when THOR_BENCH_GALERA says how many faults.
func TestBenchGalera(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("THOR_BENCH_GALERA"))
	if err != nil || n < 1 {
		t.Skip("set THOR_BENCH_GALERA to a number of faults, or use just bench-galera")
	}
	c := startCluster(t, "127.146")
	c.load(3)
	faults := []galeraFault{galeraParted, galeraAlone, galeraKilled}
	samples := make(map[string][]time.Duration)
	var isolated []time.Duration
	var again []time.Duration
	lost := -1
	defer func() {
		rows := []row{summarise("Galera: node isolated → writes elsewhere", 6*time.Second, isolated, "")}
		for _, f := range faults {
			if ds := samples[f.name]; len(ds) > 0 {
				rows = append(rows, summarise("  "+f.name, 6*time.Second, ds, ""))
			}
		}
		rows = append(rows, summarise("Galera: majority again → announced (500 ms)", 3*time.Second, again, ""))
		if err := printRows(os.Stdout, rows); err != nil {
			t.Error(err)
		}
		fmt.Printf("%d writes acknowledged, %d not; acknowledged writes lost: %d\n", c.acked.Load(), c.failed.Load(), lost)
	}()
	for k := range n {
		f := faults[k%len(faults)]
		took := c.hurt(f, fmt.Sprintf("p%d", k))
		samples[f.name] = append(samples[f.name], took)
		if f.name != galeraKilled.name {
			isolated = append(isolated, took)
		}
	}
	for range max(1, n/10) {
		again = append(again, c.withoutMajority())
	}
	lost = c.lost()
}

// withoutMajority kills two of three nodes and starts them again: how long it takes from
// the moment in which the cluster has a primary component until a database is announced.
// One of them alone would not do: all of the last component have to be there.
func (c *cluster) withoutMajority() time.Duration {
	c.t.Helper()
	status := func(i int) string {
		return c.ask(i, "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'wsrep_cluster_status'")
	}
	up := func() bool {
		return slices.ContainsFunc(c.status().Roles[subjects.Database], func(m subjects.Member) bool { return m.State == subjects.Up })
	}
	for _, name := range []string{"galera3", "galera2"} {
		galeraKilled.act(c, int(name[len(name)-1]-'0'))
	}
	eventually(c.t, 20*time.Second, "the node that is left has no majority", func() bool { return status(1) == "non-Primary" })
	eventually(c.t, 20*time.Second, "no database is up", func() bool { return !up() })
	galeraKilled.end(c, 2)
	galeraKilled.end(c, 3)
	eventually(c.t, 60*time.Second, "there is a majority again", func() bool { return status(1) == "Primary" })
	took := eventually(c.t, 30*time.Second, "a database is up", up)
	c.firstWrite(fmt.Sprintf("m%d", time.Now().UnixNano()))
	c.whole()
	return took
}
