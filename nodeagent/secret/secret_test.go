package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thor/nodeagent/secret"
)

const digits = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func key(t *testing.T) *secret.Key {
	t.Helper()
	k, err := secret.Parse(digits + "\n")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The digits were computed by sha256sum(1): the form is a promise to Kamailio's
// configuration.
func TestMACIsWhatKamailioComputes(t *testing.T) {
	const want = "89d790f551d58159b4b27cad5358c8a1464db6ac35d6acd5d849636e55296951"
	if got := key(t).MAC(secret.Ask, "1700000000.000001.x", "/subscriber/alice@example.com/ha1?for=register"); got != want {
		t.Error(got)
	}
}

func TestAHeaderIsGoodOnceAndForItsTextAlone(t *testing.T) {
	k, now := key(t), time.Unix(1_700_000_000, 5_000)
	g := secret.NewGuard(k)
	h, nonce := k.Sign(secret.Ask, "/a", now)
	for name, x := range map[string]struct {
		kind   secret.Kind
		header string
		text   string
		now    time.Time
	}{
		"another text":   {secret.Ask, h, "/b", now},
		"another kind":   {secret.RPC, h, "/a", now},
		"too old":        {secret.Ask, h, "/a", now.Add(secret.Window + time.Second)},
		"of the future":  {secret.Ask, h, "/a", now.Add(-secret.Window - time.Second)},
		"a later nonce":  {secret.Ask, "1700000001" + h[10:], "/a", now},
		"no MAC":         {secret.Ask, nonce, "/a", now},
		"nothing":        {secret.Ask, "", "/a", now},
		"no time":        {secret.Ask, "x " + strings.Repeat("0", 64), "/a", now},
		"the secret":     {secret.Ask, digits, "/a", now},
		"upper case MAC": {secret.Ask, nonce + " " + strings.ToUpper(h[len(nonce)+1:]), "/a", now},
	} {
		if _, ok := g.Accept(x.kind, x.header, x.text, x.now); ok {
			t.Errorf("%s: accepted", name)
		}
	}
	if got, ok := g.Accept(secret.Ask, h, "/a", now.Add(time.Second)); !ok || got != nonce {
		t.Error("a good one is refused")
	}
	for _, later := range []time.Duration{0, secret.Window - time.Second, secret.Window} {
		if _, ok := g.Accept(secret.Ask, h, "/a", now.Add(later)); ok {
			t.Errorf("accepted again after %v", later)
		}
	}
}

// What another program received at the port before the agent had it is refused.
func TestWhatWasSignedBeforeThePortWasOursIsRefused(t *testing.T) {
	k, now := key(t), time.Unix(1_700_000_000, 0)
	g := secret.NewGuard(k)
	before, _ := k.Sign(secret.Ask, "/a", now.Add(-time.Millisecond))
	after, _ := k.Sign(secret.Ask, "/a", now)
	g.Since(now)
	if _, ok := g.Accept(secret.Ask, before, "/a", now); ok {
		t.Error("accepted")
	}
	if _, ok := g.Accept(secret.Ask, after, "/a", now); !ok {
		t.Error("a later one is refused")
	}
}

func TestAnAnswerProvesItself(t *testing.T) {
	k := key(t)
	sealed := k.Seal("n", 200, "body\n")
	if b, ok := k.Open("n", 200, sealed); !ok || b != "body\n" {
		t.Errorf("%q %v", b, ok)
	}
	if b, ok := k.Open("n", 404, k.Seal("n", 404, "")); !ok || b != "" {
		t.Errorf("%q %v", b, ok)
	}
	for name, open := range map[string]func() (string, bool){
		"another nonce":  func() (string, bool) { return k.Open("m", 200, sealed) },
		"another status": func() (string, bool) { return k.Open("n", 404, sealed) },
		"another body":   func() (string, bool) { return k.Open("n", 200, sealed+"x") },
		"no MAC":         func() (string, bool) { return k.Open("n", 200, "body\n") },
	} {
		if _, ok := open(); ok {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTheFileIsMadeOnceAndReadByKamailioToo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	a, err := secret.Load(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := secret.Load(path, -1)
	if err != nil || b.MAC(secret.Ask, "n", "t") != a.MAC(secret.Ask, "n", "t") {
		t.Errorf("another secret: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), `#!substdef "!THOR_SECRET!`) {
		t.Errorf("%.30q %v", text, err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.Load(path, -1); err == nil {
		t.Error("a file that everybody may read is taken")
	}
	for _, bad := range []string{"", "secret\n", digits[:63] + "\n", digits + "\n" + digits + "\n"} {
		if _, err := secret.Parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
