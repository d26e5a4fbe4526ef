package subjects_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thor/subjects"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestWireBytes compares one sample of each message, all fields set, with the
// bytes that other versions and other languages expect.
func TestWireBytes(t *testing.T) {
	at := time.Date(2026, 11, 24, 1, 2, 3, 4_000_000, time.UTC)
	addr := netip.MustParseAddr("192.0.2.1")
	table := subjects.Lookup{Bits: 18, Digest: "0123456789abcdef"}
	m := subjects.Member{
		Node: "n1", Addresses: []netip.Addr{addr}, State: subjects.Suspect, Reason: "silent", Priority: 10, Weight: 100,
		Since: at, Version: "1.2", Plain: true, Attrs: subjects.Attrs{"port": "5060"},
	}
	s := &subjects.Status{
		V: 1, Domain: "example.net", Epoch: 3, Generation: 17, Manager: "m1", Time: at,
		Roles:    map[subjects.Role][]subjects.Member{"sip_proxy": {m}},
		Departed: []subjects.Departed{{Node: "n2", Addresses: []netip.Addr{addr}, Until: at}},
		Lookup:   map[subjects.Role]subjects.Lookup{"sip_proxy": table},
	}
	full := s.Clone()
	full.Generation++
	full.Losses = subjects.Losses{
		Lost: []subjects.Lost{{Node: "n4", Role: "sip_proxy", Addresses: []netip.Addr{addr}, Since: at, Reason: "connection lost"}},
		Held: []subjects.Held{{Node: "n5", Role: "sip_proxy", Until: at, Reason: "left and came back too often"}},
	}
	before := &subjects.Status{V: 1, Domain: "example.net", Epoch: 3, Generation: 16, Roles: map[subjects.Role][]subjects.Member{
		"media_relay": {m},
	}, Departed: []subjects.Departed{{Node: "n3", Addresses: []netip.Addr{addr}, Until: at}}, Lookup: map[subjects.Role]subjects.Lookup{"media_relay": table}}
	identity := &subjects.Identity{
		V: 1, Broker: "b1", Node: "n1", Serial: "0a", Issuer: "0b", NotAfter: at, Roles: []subjects.Role{"sip_proxy"},
		Addresses: []netip.Addr{addr}, Bounds: map[subjects.Role]subjects.Bound{"sip_proxy": {Weight: 200, Priority: 5}},
	}
	found, err := json.Marshal(subjects.LookupResult{
		Key: "alice@example.net", Slot: 5, Owner: "n1", Heir: "n2", Previous: "n3",
		Epoch: 3, Generation: 17, OwnerAddress: addr, HeirAddress: addr, PreviousAddress: addr,
	})
	if err != nil {
		t.Fatal(err)
	}
	alone, err := json.Marshal(subjects.LookupResult{Key: "alice@example.net", Owner: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "wire", []sample{
		{"Announcement", (&subjects.Announcement{
			V: 1, Node: "n1", Role: "sip_proxy", Boot: "b00t", Seq: 7, Addresses: []netip.Addr{addr}, State: subjects.Draining, Reason: "an operator",
			Priority: 10, Weight: 100, Version: "1.2", Seen: &subjects.Mark{Epoch: 3, Generation: 17}, Via: "b1#4", Attrs: subjects.Attrs{"port": "5060"},
		}).Encode()},
		{"Status", s.Encode()},
		{"empty Status", (&subjects.Status{V: 1, Roles: map[subjects.Role][]subjects.Member{}}).Encode()},
		{"Delta", subjects.Diff(before, s).Encode()},
		{"full Status", full.EncodeFull(full.Encode())},
		{"Delta of losses", subjects.Diff(s, full).Encode()},
		{"RoleView", s.View("sip_proxy").Encode()},
		{"Tick", (&subjects.Tick{
			V: 1, Epoch: 3, Generation: 17, Digest: subjects.Digest(s.Encode()), Manager: "m1", Time: at, Counts: s.Counts(), Lookup: s.Lookup,
		}).Encode()},
		{"Tick with losses", (&subjects.Tick{
			V: 1, Epoch: 3, Generation: 18, Digest: subjects.Digest(full.Encode()), LossesDigest: full.LossesDigest(), Manager: "m1", Time: at,
		}).Encode()},
		{"RoleTick", (&subjects.RoleTick{
			V: 1, Epoch: 3, Generation: 18, Beat: 1000, Members: 1, Roles: full.RoleDigests(), Manager: "m1", Time: at,
		}).Encode()},
		{"RoleDelta", roleDelta(before, full)},
		{"part of a Status", full.Part([]subjects.Role{"sip_proxy"}).Encode()},
		{"SnapshotRequest for roles", (&subjects.SnapshotRequest{V: 1, Losses: true, Roles: []subjects.Role{"sip_proxy"}}).Encode()},
		{"SnapshotRequest for losses", (&subjects.SnapshotRequest{V: 1, Losses: true}).Encode()},
		{"SnapshotRequest", (&subjects.SnapshotRequest{V: 1, AtLeast: &subjects.Mark{Epoch: 3, Generation: 17}}).Encode()},
		{"Lease", (&subjects.Lease{V: 1, Manager: "m1", Boot: "b00t", Via: "b1#4", Epoch: 3, Ceiling: 1000, Time: at}).Encode()},
		{"Event", (&subjects.Event{V: 1, Time: at, Kind: subjects.EventJoin, Role: "sip_proxy", Node: "n1", Cause: subjects.CauseJoin, By: "op1", Detail: "back", Epoch: 3, Generation: 17}).Encode()},
		{"Revoked", (&subjects.Revoked{V: 1, Node: "n1", Boot: "b00t", Serial: "0a"}).Encode()},
		{"Cut", (&subjects.Cut{V: 1, Node: "n1", Reason: "too many messages", Refused: 60}).Encode()},
		{"RescueRequest", (&subjects.RescueRequest{V: 1, Dead: []subjects.NodeID{"b2", "b3"}}).Encode()},
		{"RescueReply", subjects.Encode(&subjects.RescueReply{
			V: 1, Broker: "b1", Leader: "b1", Peers: []subjects.RescuePeer{{Node: "b4", Heard: true}}, Removed: []subjects.NodeID{"b2", "b3"},
		})},
		{"RestartRequest", (&subjects.RestartRequest{V: 1, Boot: "b00t"}).Encode()},
		{"RestartReply", subjects.Encode(&subjects.RestartReply{
			V: 1, Boot: "b00t", Version: "1.2", Supervised: true, Restarts: true, Certificate: &subjects.Validity{From: at, Until: at},
		})},
		{"BrokerNotice", (&subjects.BrokerNotice{V: 1, Broker: "b1", Alone: true}).Encode()},
		{"Reply", (&subjects.Reply{V: 1, Code: subjects.ErrorFailed, Text: "no", Data: []byte(`{"a":1}`)}).Encode()},
		{"Identity", identity.Encode()},
		{"ListRequest", (&subjects.ListRequest{V: 1, Held: []string{"00ff"}}).Encode()},
		{"LookupRequest", (&subjects.LookupRequest{V: 1, Role: "sip_proxy", Keys: []string{"alice@example.net"}}).Encode()},
		{"Report", (&subjects.Report{
			V: 1, Checks: []subjects.CheckReport{{
				Role: "sip_proxy", Name: "sip udp:192.0.2.1:5060", State: subjects.CheckFailing, Reason: "refused", ReportOnly: true, Fault: "timed out", TookMS: 0.25, AgoMS: 300,
			}}, Zone: &subjects.ZoneReport{Serial: 17, Digest: "00ff", AgeMS: 2000, Answered: 5, Dropped: 1},
		}).Encode()},
		{"Hearing", (&subjects.Hearing{V: 1, Nodes: 9, Heard: 6, Sites: map[subjects.Site]int{"lon": 3, "ams": 0, "fra": 3}}).Encode()},
		{"Found", found},
		{"Found, nothing but the owner", alone},
	})
}

// roleDelta is the delta of sip_proxy from a to b.
func roleDelta(a, b *subjects.Status) []byte {
	for _, d := range subjects.Diff(a, b).ByRole(b) {
		if d.Role == "sip_proxy" {
			d.Digest = b.RoleDigest(d.Role)
			data, _ := d.Message()
			return data
		}
	}
	return nil
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
