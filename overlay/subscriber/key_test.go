package subscriber_test

import (
	"testing"

	"thor/overlay/subscriber"
)

func TestFoldLeavesOtherLetters(t *testing.T) {
	for in, want := range map[string]string{
		"Alice@EXAMPLE.com":        "alice@example.com",
		"\u212Aate@\u00C4.example": "\u212Aate@\u00C4.example", // KELVIN SIGN and A umlaut
		"":                         "",
	} {
		if got := subscriber.Fold(in); got != want {
			t.Errorf("Fold(%q) = %q, want %q", in, got, want)
		}
	}
}
