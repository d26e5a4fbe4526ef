package ngnpro_test

import (
	"errors"
	"strings"
	"testing"

	"thor/provisioning/ngnpro"
)

func TestLinesOfRecords(t *testing.T) {
	for _, c := range []struct{ name, kind, value, want string }{
		{"www", "a", " 192.0.2.1 ", "www.example.net. 3600 IN A 192.0.2.1"},
		{"WWW.Example.NET.", "AAAA", "2001:DB8::1", "www.example.net. 3600 IN AAAA 2001:db8::1"},
		{"", "TXT", "v=spf1 -all", `example.net. 3600 IN TXT "v=spf1 -all"`},
		{"@", "TXT", `"a" "b\"c"`, `example.net. 3600 IN TXT "a" "b\"c"`},
		{"x", "TXT", `a"b\c`, `x.example.net. 3600 IN TXT "a\"b\\c"`},
		{"example.net", "MX", "mail", "example.net. 3600 IN MX 7 mail.example.net."},
		{"a", "MX", "mx.example.org", "a.example.net. 3600 IN MX 7 mx.example.org."},
		{"_sip._udp", "SRV", "10 5060 proxy", "_sip._udp.example.net. 3600 IN SRV 7 10 5060 proxy.example.net."},
		{"_sip._udp", "SRV", "10 5060 proxy.sipthor.net", "_sip._udp.example.net. 3600 IN SRV 7 10 5060 proxy.sipthor.net."},
		{"n", "NAPTR", `10 100 "s" "SIP+D2T" "" _sip._tcp`, `n.example.net. 3600 IN NAPTR 10 100 "s" "SIP+D2T" "" _sip._tcp.example.net.`},
		{"n", "NAPTR", `10 100 "u" "E2U+sip" "!^.*$!sip:a@b!" .`, `n.example.net. 3600 IN NAPTR 10 100 "u" "E2U+sip" "!^.*$!sip:a@b!" .`},
		{"c", "CNAME", "@", "c.example.net. 3600 IN CNAME example.net."},
		{"c", "CNAME", "www", "c.example.net. 3600 IN CNAME www.example.net."},
		{"c", "CNAME", "www.", "c.example.net. 3600 IN CNAME www."},
		{"l", "LOC", "52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", "l.example.net. 3600 IN LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m"},
		{"x", "TXT", strings.Repeat("y", 300), `x.example.net. 3600 IN TXT "` + strings.Repeat("y", 255) + `" "` + strings.Repeat("y", 45) + `"`},
	} {
		r := &ngnpro.DnsRecord{Zone: " Example.net.", Name: c.name, Type: c.kind, Value: &c.value, Priority: ptr(7)}
		if err := r.CleanNew(); err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if got := r.Line(); got != c.want {
			t.Errorf("%s %s %s: %s", c.name, c.kind, c.value, got)
		}
		// What was read is sent back as it is.
		again := *r
		again.ID = ptr(1)
		if err := again.Clean(); err != nil || again.Line() != c.want {
			t.Errorf("sent back: %s, %v", again.Line(), err)
		}
	}
}

func TestBadDNSRecordsAreRefused(t *testing.T) {
	good := ngnpro.DnsRecord{Zone: "example.net", Name: "www", Type: "A", Value: ptr("192.0.2.1")}
	for what, change := range map[string]func(*ngnpro.DnsRecord){
		"no zone":          func(r *ngnpro.DnsRecord) { r.Zone = "" },
		"no type":          func(r *ngnpro.DnsRecord) { r.Type = " " },
		"other type":       func(r *ngnpro.DnsRecord) { r.Type = "SOA" },
		"no value":         func(r *ngnpro.DnsRecord) { r.Value = nil },
		"empty value":      func(r *ngnpro.DnsRecord) { r.Value = ptr(" ") },
		"another line":     func(r *ngnpro.DnsRecord) { r.Value = ptr("192.0.2.1\nx A 192.0.2.2") },
		"a directive":      func(r *ngnpro.DnsRecord) { r.Name = "$INCLUDE" },
		"a blank":          func(r *ngnpro.DnsRecord) { r.Name = "a b" },
		"a comment":        func(r *ngnpro.DnsRecord) { r.Name = "a;b" },
		"an escape":        func(r *ngnpro.DnsRecord) { r.Name = `a\.b` },
		"an empty label":   func(r *ngnpro.DnsRecord) { r.Name = "a..b" },
		"a long label":     func(r *ngnpro.DnsRecord) { r.Name = strings.Repeat("x", 64) },
		"a long name":      func(r *ngnpro.DnsRecord) { r.Name = strings.Repeat("x.", 125) + "x" },
		"a long value":     func(r *ngnpro.DnsRecord) { r.Value = ptr(strings.Repeat("x", 601)) },
		"other characters": func(r *ngnpro.DnsRecord) { r.Type, r.Value = "TXT", ptr("é") },
		"no TTL":           func(r *ngnpro.DnsRecord) { r.TTL = ptr(0) },
		"a priority":       func(r *ngnpro.DnsRecord) { r.Priority = ptr(65536) },
	} {
		r := good
		change(&r)
		if err := r.CleanNew(); !errors.Is(err, ngnpro.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, r := range map[string]ngnpro.DnsRecord{
		"no id": {Zone: "example.net"}, "id 0": {ID: ptr(0)}, "a name without a zone": {ID: ptr(1), Name: "x"}, "an empty value": {ID: ptr(1), Value: ptr("")},
	} {
		if err := r.Clean(); !errors.Is(err, ngnpro.ErrInvalid) {
			t.Errorf("changed, %s: %v", what, err)
		}
	}
	if err := (&ngnpro.DnsRecord{ID: ptr(1), TTL: ptr(60)}).Clean(); err != nil {
		t.Error(err)
	}
}
