package subjects_test

import (
	"strings"
	"testing"

	"thor/subjects"
)

func TestIsHostName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, good := range []string{"a", "example.com", "1.example", "1a", "a-b.c-d", long, strings.Repeat(long+".", 3) + strings.Repeat("a", 61)} {
		if !subjects.IsHostName(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{
		"", ".", "a.", ".a", "a..b", "-a", "a-", "A", "a_b", "a b", "ä.example", "1", "127.1", "192.0.2.1", "a.1", long + "a",
		strings.Repeat(long+".", 3) + strings.Repeat("a", 62),
	} {
		if subjects.IsHostName(bad) {
			t.Errorf("%q is accepted", bad)
		}
	}
}
