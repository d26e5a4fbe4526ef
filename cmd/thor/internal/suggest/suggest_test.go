package suggest_test

import (
	"testing"

	"thor/cmd/thor/internal/suggest"
)

func TestTheNearestNameIsSuggested(t *testing.T) {
	known := []string{"media_relay", "sip_proxy", "sip_prx"}
	for word, want := range map[string]string{
		"sip_prox": "sip_proxy", "sip_pr": "sip_prx", "sip-proxy": "sip_proxy", "medai_relay": "media_relay", "media_relays": "media_relay",
		"sip_proxy": "", "fax_server": "", "": "", "s": "",
	} {
		if got := suggest.Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	if got := suggest.Nearest("a", nil); got != "" {
		t.Errorf("of none: %q", got)
	}
}
