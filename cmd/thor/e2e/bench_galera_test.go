//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
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
	lost := -1
	defer func() {
		rows := []row{summarise("Galera: node isolated → writes elsewhere", 6*time.Second, isolated, "")}
		for _, f := range faults {
			if ds := samples[f.name]; len(ds) > 0 {
				rows = append(rows, summarise("  "+f.name, 6*time.Second, ds, ""))
			}
		}
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
	lost = c.lost()
}
