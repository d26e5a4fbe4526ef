package cookie_test

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"thor/dnsagent/cookie"
)

func secrets(t *testing.T, text string) cookie.Secrets {
	t.Helper()
	s, err := cookie.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	older = "e5e973e5a6b2a43f48e7dc849e37bfcf"
	newer = "445536bcd2513298075a5d379663c962"
)

// The examples of RFC 9018, appendix A.
func TestExamplesOfTheStandard(t *testing.T) {
	for _, c := range []struct {
		what, secrets, sent, addr string
		now                       uint32
		proved                    bool
		want                      string
	}{
		{"a new client", older, "2464c4abcf10c957", "198.51.100.100", 1559731985, false, "2464c4abcf10c957010000005cf79f111f8130c3eee29480"},
		{
			"the same after 40 minutes", older, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", "198.51.100.100", 1559734385, true,
			"2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
		},
	} {
		out := make([]byte, cookie.Size)
		proved := secrets(t, c.secrets).Answer(out, unhex(t, c.sent), netip.MustParseAddr(c.addr), c.now)
		if proved != c.proved || hex.EncodeToString(out) != c.want {
			t.Errorf("%s: %x, proved %v, want %s", c.what, out, proved, c.want)
		}
	}
}

func TestACookieIsBelievedForAnHourAtItsAddress(t *testing.T) {
	s := secrets(t, older)
	made := uint32(10)
	for _, addr := range []string{"192.0.2.1", "2001:db8::1"} {
		a := netip.MustParseAddr(addr)
		c := make([]byte, cookie.Size)
		if s.Answer(c, []byte("12345678"), a, made) {
			t.Error("a client cookie alone proves something")
		}
		out := make([]byte, cookie.Size)
		for now, want := range map[uint32]bool{
			made: true, made + 1799: true, made + 3600: true, made + 3601: false,
			made - 300: true, 1<<32 - 290: true, 1<<32 - 291: false, // before it was made, and across the end of the numbers
		} {
			if got := s.Answer(out, c, a, now); got != want {
				t.Errorf("%s: %d s after it was made: %v", addr, int32(now-made), got)
			}
			if same := bytes.Equal(out, c); same != (now >= made && now < made+1800) {
				t.Errorf("%s: %d s after it was made it comes back as it was: %v", addr, int32(now-made), same)
			}
		}
		for i := range c {
			bad := bytes.Clone(c)
			bad[i] ^= 1
			if s.Answer(out, bad, a, made) {
				t.Errorf("%s: byte %d changed, and it is believed", addr, i)
			}
		}
		if s.Answer(out, c[:23], a, made) || s.Answer(out, append(c, 0), a, made) {
			t.Error("another length is believed")
		}
	}
	c, out := make([]byte, cookie.Size), make([]byte, cookie.Size)
	s.Answer(c, []byte("12345678"), netip.MustParseAddr("192.0.2.1"), made)
	if s.Answer(out, c, netip.MustParseAddr("192.0.2.2"), made) {
		t.Error("another address is believed")
	}
	if !s.Answer(out, c, netip.MustParseAddr("::ffff:192.0.2.1"), made) {
		t.Error("the same address written as IPv6 is not")
	}
}

func TestTwoSecretsAreBelievedAndTheFirstMakes(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	before, during, after := secrets(t, older), secrets(t, "# of March\n"+newer+"\n\n"+older+"\n"), secrets(t, newer)
	c, out := make([]byte, cookie.Size), make([]byte, cookie.Size)
	before.Answer(c, []byte("12345678"), a, 100)
	if !during.Answer(out, c, a, 101) {
		t.Error("a cookie of the second secret is not believed")
	}
	if bytes.Equal(out, c) || !after.Answer(c, out, a, 102) {
		t.Error("the second secret made a cookie")
	}
	if before.Answer(c, out, a, 103) {
		t.Error("a cookie of an unknown secret is believed")
	}
}

func TestSecretsThatAreNone(t *testing.T) {
	for _, text := range []string{"", "# none\n", "abc", older[:30], older + "00", "g" + older[1:], older + "\n" + newer + "\n" + older} {
		if s, err := cookie.Parse(text); err == nil {
			t.Errorf("%q: %d secrets", text, len(s))
		} else if bytes.Contains([]byte(err.Error()), []byte(older[:8])) {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
}

func TestLengths(t *testing.T) {
	for n, want := range map[int]bool{0: false, 7: false, 8: true, 9: false, 15: false, 16: true, 24: true, 40: true, 41: false} {
		if cookie.WellFormed(n) != want {
			t.Errorf("%d bytes: %v", n, !want)
		}
	}
}

func FuzzCookie(f *testing.F) {
	s, err := cookie.Parse(newer + "\n" + older)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("12345678"), []byte{192, 0, 2, 1}, uint32(5))
	f.Fuzz(func(t *testing.T, b, ip []byte, now uint32) {
		addr, ok := netip.AddrFromSlice(ip)
		if !ok || !cookie.WellFormed(len(b)) {
			return
		}
		var out, again [cookie.Size]byte
		s.Answer(out[:], b, addr, now)
		if !s.Answer(again[:], out[:], addr, now) || again != out {
			t.Fatalf("%x from %s at %d: the answer %x is not believed", b, addr, now, out)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{newer, newer + "\n" + older, "# " + newer, "", "\n\n", newer[1:], strings.ToUpper(newer)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := cookie.Parse(text)
		if (err == nil) != (len(s) > 0) || len(s) > 2 {
			t.Errorf("%d secrets, %v", len(s), err)
		}
		if err != nil && len(text) >= 32 && strings.Contains(err.Error(), text) {
			t.Errorf("the error tells the text: %v", err)
		}
	})
}
