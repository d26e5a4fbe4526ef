package up

import (
	"os"
	"strings"
	"testing"
)

// What thor up runs is what an operator copies, but for addresses and the secret.
func TestOnlyAddressesAndTheSecretDifferFromTheExample(t *testing.T) {
	b, err := os.ReadFile("../../../../deploy/examples/kamailio/register.cfg")
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != register {
		t.Fatal("register.cfg is not the example: run go generate ./cmd/thor/internal/up")
	}
	got, err := registerConfig(own{address: "127.1.1.1", agent: "127.1.1.1:1", rpc: "127.1.1.1:2", secret: "/s"})
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
