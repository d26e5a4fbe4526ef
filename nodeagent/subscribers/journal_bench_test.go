package subscribers

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/subscribers/kept"
	"thor/overlay/subscriber"
)

// Writing the log of 20,000 profiles anew: reads wait for it.
func BenchmarkRewrite20000(b *testing.B) {
	s := newContents("n1", 100_000, time.Minute, time.Second)
	for i := range 20_000 {
		s.put(&subscriber.Profile{
			V: 1, Key: fmt.Sprintf("user%d@example.net", i), Revision: uint64(i + 1), Username: fmt.Sprintf("user%d", i), Domain: "example.net",
			HA1: strings.Repeat("0123456789abcdef", 2), Groups: []string{"free-pstn", "voicemail"},
		}, 0, true, time.Time{})
	}
	size := 0
	for _, e := range s.entries {
		size += len(e.body) + len(e.key) + 128
	}
	l, _ := kept.Open("n1", nil, nothing{}, zerolog.Nop())
	defer l.Close()
	for b.Loop() {
		if err := errors.Join(l.Rewrite(size, s.write), l.Confirm()); err != nil {
			b.Fatal(err)
		}
	}
}

type nothing struct{}

func (nothing) Store(string, *os.File) error { return nil }
func (nothing) Forget(string)                {}
