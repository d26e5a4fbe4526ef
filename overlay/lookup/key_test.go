package lookup_test

import (
	"errors"
	"strings"
	"testing"

	"thor/overlay/lookup"
)

func TestWhatIsNoSubscriberIsRefused(t *testing.T) {
	for _, k := range []string{
		"", "@", ":", "sip:", "sips:", "sip", "sip:@", "alice", "tel:+31208005169@example.com", "sip:example.com", "@example.com", "alice@",
		"alice@example.com@evil.org", "<sip:alice@example.com>", "al ice@example.com", "alice@exam ple.com", "alice@example.com:",
		"alice@example.com:123456", "alice@example.com:5o60", "alice@[::1", "alice@[]", "alice@[::1]x", "alice@[::g]", "alice@[::1]:",
		"alice@b\xc3\xbccher.example", "alice@.", "alice@b..", "alice@.b", "alice@a..b", "pres:alice@example.com", "im:alice@example.com",
		"alice:secret@example.com", "sip::secret@example.com", "\"Alice\" <sip:alice@example.com>", "a\x00b@example.com", "a\x7fb@example.com",
		"alice@;lr", "sip:alice@?x=y", "alice@exa*mple.com",
		strings.Repeat("a", 1025) + "@b", strings.Repeat("a", 511) + "@b", "sip:a@" + strings.Repeat("b", 511),
	} {
		if n, err := lookup.Normalise(k); !errors.Is(err, lookup.ErrBadKey) {
			t.Errorf("Normalise(%q) = %q, %v", k, n, err)
		}
		if _, err := lookup.Slot(18, k); !errors.Is(err, lookup.ErrBadKey) {
			t.Errorf("Slot(%q): %v", k, err)
		}
	}
	for k, want := range map[string]string{
		strings.Repeat("a", 510) + "@b":            strings.Repeat("a", 510) + "@b",
		"sip:a:" + strings.Repeat("p", 900) + "@B": "a@b",
		"a@b;" + strings.Repeat("p", 1000):         "a@b",
		"sip:sip:x@b":                              "sip@b",
		"SiPs:a@B.C.":                              "a@b.c",
		"sip@sip":                                  "sip@sip",
		"a@b:0":                                    "a@b",
		"a@[2001:DB8::1]:65535;x=y":                "a@[2001:db8::1]",
		"a?b;c@d":                                  "a?b;c@d",
	} {
		if n, err := lookup.Normalise(k); err != nil || n != want {
			t.Errorf("Normalise(%q) = %q, %v, want %q", k, n, err, want)
		}
	}
}

// Every byte in the user and in the host: either refused, or kept and hashed as
// it is, but for upper case in the host.
func TestEveryByteInUserAndHost(t *testing.T) {
	for b := range 256 {
		c := string([]byte{byte(b)})
		n, err := lookup.Normalise("x" + c + "y@h")
		switch refused := b <= 0x20 || b == 0x7f || strings.ContainsAny(c, `<>":`) && b < 0x80; {
		case c == "@": // splits: the host is then "y@h"
			refused = true
			fallthrough
		case refused:
			if err == nil {
				t.Errorf("user with %#x accepted as %q", b, n)
			}
		case err != nil || n != "x"+c+"y@h":
			t.Errorf("user with %#x: %q, %v", b, n, err)
		}
		n, err = lookup.Normalise("x@h" + c + "z")
		switch {
		case c == ";" || c == "?":
			if n != "x@h" {
				t.Errorf("host cut at %q: %q, %v", c, n, err)
			}
		case strings.Contains("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", c):
			if err != nil || n != strings.ToLower("x@h"+c+"z") {
				t.Errorf("host with %#x: %q, %v", b, n, err)
			}
		case err == nil:
			t.Errorf("host with %#x accepted as %q", b, n)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, c := range published {
		f.Add(c.key)
	}
	f.Add("sip:sips:a:b@[::A]:1?x@y")
	f.Add("sip:a@B..")
	f.Fuzz(func(t *testing.T, k string) {
		n, err := lookup.Normalise(k)
		slot, serr := lookup.Slot(18, k)
		if (err == nil) != (serr == nil) {
			t.Fatalf("Normalise(%q): %v, Slot: %v", k, err, serr)
		}
		if err != nil {
			if !errors.Is(err, lookup.ErrBadKey) {
				t.Fatalf("Normalise(%q): %v", k, err)
			}
			return
		}
		again, err := lookup.Normalise(n)
		if err != nil || again != n {
			t.Fatalf("Normalise(%q) = %q, and of that %q, %v", k, n, again, err)
		}
		if !lookup.IsWhole(n) || len(n) > lookup.MaxNormalised {
			t.Fatalf("normal form %q is not its own", n)
		}
		if want := uint32(lookup.Hash(n) >> 46); slot != want {
			t.Fatalf("slot of %q is %d, of its normal form %d", k, slot, want)
		}
	})
}
