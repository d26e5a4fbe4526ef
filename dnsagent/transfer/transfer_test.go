package transfer

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const keyText = "key \"xfr.example\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0IG9mIHRoaXJ0eS10d28gYnl0ZXMgb3Igc28=\";\n};\n"

func FuzzParseKey(f *testing.F) {
	f.Add(keyText)
	f.Add(strings.ReplaceAll(keyText, "256", "512"))
	f.Add(strings.ReplaceAll(keyText, `"`, ""))
	f.Add("key . { algorithm hmac-sha256; secret x; };")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err != nil {
			if secret, _, ok := strings.Cut(text, ";"); ok && len(secret) > 40 && strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells the text: %v", err)
			}
			return
		}
		b, err := base64.StdEncoding.DecodeString(k.Secret())
		if _, ok := dns.IsDomainName(k.Name); !ok || err != nil || len(b) < 16 || dns.CanonicalName(k.Name) != k.Name || !dns.IsFqdn(k.Algorithm) {
			t.Errorf("%q is %+v, %v", text, k, err)
		}
	})
}
