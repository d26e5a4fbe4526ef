package kamailio_test

import (
	"os"
	"strings"
	"testing"

	"thor/deploy/examples/kamailio"
)

// What thor up runs is what an operator copies, but for addresses.
func TestOnlyAddressesAndTheSecretDiffer(t *testing.T) {
	b, err := os.ReadFile("register.cfg")
	if err != nil {
		t.Fatal(err)
	}
	got, err := kamailio.Register(kamailio.Own{Address: "127.1.1.1", Agent: "127.1.1.1:1", RPC: "127.1.1.1:2", Secret: "/s"})
	if err != nil {
		t.Fatal(err)
	}
	shipped, run := strings.Split(string(b), "\n"), strings.Split(got, "\n")
	if len(shipped) != len(run) {
		t.Fatalf("%d lines became %d", len(shipped), len(run))
	}
	var changed []string
	for i := range run {
		if run[i] != shipped[i] {
			changed = append(changed, run[i])
		}
	}
	const want = `include_file "/s" #!substdef "!MY_ADDRESS!127.1.1.1!g" #!substdef "!AGENT_ADDRESS!127.1.1.1:1!g" #!substdef "!RPC_ADDRESS!127.1.1.1:2!g"`
	if s := strings.Join(changed, " "); s != want {
		t.Errorf("changed: %s", s)
	}
}
