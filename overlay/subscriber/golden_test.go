package subscriber_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"thor/overlay/subscriber"
	"thor/subjects"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestWireBytes compares one sample of each message, all fields set, with the
// bytes that other versions expect.
func TestWireBytes(t *testing.T) {
	golden(t, "wire", []sample{
		{"Profile", (&subscriber.Profile{
			V: 1, Key: "alice@example.net", Revision: 9, Deleted: true, AliasOf: "bob@example.net", Served: true, Username: "alice", Domain: "example.net",
			HA1: "00", HA1B: "11", FirstName: "Alice", LastName: "A", Email: "alice@example.org", Timezone: "Europe/Amsterdam", RPID: "31", Region: "eu",
			Quickdial: "1", Prepaid: true, Quota: 2, CallLimit: 3, Timeout: 30, Owner: 4, Customer: 5, Reseller: 6, Groups: []string{"pstn"},
			Aliases: []string{"a@example.net"}, Diversions: map[string]string{"FUNC": "sip:b@example.net"}, Barring: []string{"00"}, Reject: []string{"sip:x@example.org"},
			Accept: &subscriber.Accept{
				Persistent: []subscriber.AcceptRule{{Start: "08:00", Stop: "18:00", Days: 31, Groups: []string{"work"}}},
				Temporary:  &subscriber.TemporaryAccept{Groups: []string{"friends"}, Until: 1},
				Members:    map[string][]string{"work": {"sip:c@example.net"}},
			},
			ACL: []string{"192.0.2.0/24"}, Mailbox: "7", Properties: map[string]string{"k": "v"},
		}).Encode()},
		{"Notice", (&subscriber.Notice{V: 1, Key: "a@example.net", Revision: 9, Deleted: true, From: "p1"}).Encode()},
		{"Held", (&subscriber.Held{V: 1, Key: "a@example.net", Revision: 9}).Encode()},
		{"Request", (&subscriber.Request{V: 1, Key: "a@example.net", Least: 9}).Encode()},
		{"ChangesRequest", (&subscriber.ChangesRequest{V: 1, Since: 9}).Encode()},
		{"ChangedKeys", (&subscriber.ChangedKeys{V: 1, Keys: []string{"a@example.net"}, Through: 9, All: true, Revisions: []uint64{8}}).Encode()},
		{"Handover", (&subscriber.Handover{V: 1, Keys: []string{"a@example.net"}}).Encode()},
		{"Statistics", (&subscriber.Statistics{V: 1, Roles: map[subjects.Role]subscriber.RoleStatistics{"sip_proxy": {subscriber.OnlineAccounts: {"example.net": 3}}}}).Encode()},
		{"LocationsRequest", (&subscriber.LocationsRequest{V: 1, Keys: []string{"a@example.net"}}).Encode()},
		{"Locations", (&subscriber.Locations{V: 1, Contacts: map[string][]subscriber.Contact{"a@example.net": {
			{Address: "10.0.0.1", Port: 5060, PublicAddress: "192.0.2.1", PublicPort: 5061, Expires: 60, UserAgent: "x <&>", Transport: "udp"},
		}}}).Encode()},
		{"TrustRequest", (&subscriber.TrustRequest{V: 1, Have: "abc"}).Encode()},
		{"Trust", (&subscriber.Trust{
			V: 1, Digest: "abc", Same: true, Peers: []subscriber.TrustedPeer{{Network: "192.0.2.0/24", Blocked: true, Transit: true}},
			Domains: []string{"example.net"}, MorePeers: true, MoreDomains: true,
		}).Encode()},
	})
}

type sample struct {
	name string
	wire []byte
}

func golden(t *testing.T, name string, samples []sample) {
	t.Helper()
	var b bytes.Buffer
	for _, s := range samples {
		b.WriteString(s.name + "\n" + string(s.wire) + "\n\n")
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the wire changed:\n%s\nwant\n%s", b.Bytes(), want)
	}
}
