package dnsagent

import (
	"fmt"
	"testing"

	"thor/dnsagent/zone"
	"thor/overlay/records"
	"thor/subjects"
)

func TestProvisionedRecordsAreServedAndStayOverAReload(t *testing.T) {
	s := start(t, network2009(t), nil)
	before := s.ZoneDigest()
	if err := s.SetRecords([]string{"blog 60 A 192.0.2.90", "proxy 60 A 203.0.113.1"}); err != nil {
		t.Fatal(err)
	}
	with := s.ZoneDigest()
	if with == before || s.Zone().Digest() != with {
		t.Errorf("digest %s, before %s", with, before)
	}
	if r := s.ask(t, "udp", "blog.sipthor.net", "A"); len(r.Answer) != 1 {
		t.Errorf("%v", r)
	}
	for _, rr := range s.ask(t, "udp", "proxy.sipthor.net", "A").Answer {
		if rr.String() == "proxy.sipthor.net.\t60\tIN\tA\t203.0.113.1" {
			t.Errorf("a role's name was taken: %v", rr)
		}
	}
	if u := s.Zone().Unserved(); len(u) != 1 {
		t.Errorf("not served: %v", u)
	}
	cfg := s.cfg
	cfg.Zone = zone.DefaultConfig("sipthor.net")
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if s.ZoneDigest() != with {
		t.Error("a reload lost the records")
	}
	// A reload may take a name over, and give it back.
	cfg.Zone.Static = []string{"blog A 192.0.2.91"}
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if u := s.Zone().Unserved(); len(u) != 2 {
		t.Errorf("not served: %v", u)
	}
	if err := s.SetRecords(make([]string, records.Max+1)); err == nil {
		t.Error("any number of records")
	}
	if err := s.SetRecords(nil); err != nil {
		t.Fatal(err)
	}
	if r := s.ask(t, "udp", "blog.sipthor.net", "A"); len(r.Answer) != 1 || len(s.Zone().Unserved()) != 0 {
		t.Errorf("%v", r)
	}
	cfg.Zone.Static = nil
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if s.ZoneDigest() != before {
		t.Error("without records the zone is not as it was")
	}
}

func BenchmarkThousandRecords(b *testing.B) {
	lines := make([]string, records.Max)
	for i := range lines {
		lines[i] = fmt.Sprintf("r%d 60 CNAME r%d", i, i/2+records.Max)
	}
	cfg := zone.DefaultConfig("sipthor.net")
	cfg.Records = lines
	st := &subjects.Status{V: 1, Domain: "sipthor.net", Epoch: 1, Generation: 1}
	for b.Loop() {
		if z, err := zone.Build(cfg, st); err != nil || len(z.Unserved()) > 0 {
			b.Fatal(err)
		}
	}
}
