//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"thor/cmd/thor/e2e/trace"
	"thor/overlay"
	"thor/subjects"
)

// labLoad is the number of nodes that the desk adds, with four roles each.
const labLoad = "THOR_LAB_LOAD"

// labCompress, if not empty, has brokers compress what they send to each other.
const labCompress = "THOR_LAB_COMPRESS"

// addLoad adds members to the network, which are judged like the others: what is done under
// load is done to more than seven agents. Each node has a certificate and a connection of
// its own, and is in this process.
func (f *faultNet) addLoad(t *testing.T) {
	t.Helper()
	n, _ := strconv.Atoi(os.Getenv(labLoad)) // none: no load
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	roles := []subjects.Role{"load_a", "load_b", "load_c", "load_d"}
	for i := range n {
		node := fmt.Sprintf("load%d", i+1)
		addressOf[node] = f.desk.address
		f.certify(t, node, roles...)
		creds := f.load(t, node)
		f.creds = append(f.creds, creds)
		o, err := overlay.New(overlay.Config{Credentials: creds, Brokers: f.brokers, Dial: f.desk.dial})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range roles {
			if _, err := o.Join(overlay.Member{Role: r, Addresses: creds.Identity().Addresses}); err != nil {
				t.Fatal(err)
			}
			f.log.Add(trace.Line{Process: &trace.Process{
				Name: node + "/" + string(r), Host: f.desk.name, Node: subjects.NodeID(node), Program: "load", Role: r,
			}})
		}
		running.Go(func() { _ = o.Run(ctx) })
	}
}
