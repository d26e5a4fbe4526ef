package subjects_test

import (
	"encoding/json"
	"strings"
	"testing"

	"thor/subjects"
)

func TestAProcessEndsForItsOwnBootAlone(t *testing.T) {
	supervised := subjects.RestartReply{Boot: "b1", Version: "1.2", Supervised: true}
	alone := subjects.RestartReply{Boot: "b1"}
	ask := func(boot string) []byte { return (&subjects.RestartRequest{V: 1, Boot: boot}).Encode() }
	for _, c := range []struct {
		name string
		who  subjects.RestartReply
		data []byte
		code subjects.ErrorCode
		end  bool
	}{
		{"a question", supervised, ask(""), "", false},
		{"an empty question", supervised, nil, "", false},
		{"its boot", supervised, ask("b1"), "", true},
		{"the boot before", supervised, ask("b0"), subjects.ErrorBehind, false},
		{"without a supervisor", alone, ask("b1"), subjects.ErrorFailed, false},
		{"a question without a supervisor", alone, ask(""), "", false},
		{"rubbish", supervised, []byte("{"), subjects.ErrorBad, false},
		{"a long boot", supervised, ask(strings.Repeat("b", 65)), subjects.ErrorBad, false},
		{"another version of the wire", supervised, []byte(`{"v":2,"boot":"b1"}`), subjects.ErrorBad, false},
	} {
		reply, end := c.who.Answer(c.data)
		if reply.Code != c.code || end != c.end {
			t.Errorf("%s: %+v, ends %v", c.name, reply, end)
		}
		if c.code != "" {
			continue
		}
		var r subjects.RestartReply
		if err := json.Unmarshal(reply.Data, &r); err != nil || r.Boot != "b1" || r.Restarts != end || r.Supervised != c.who.Supervised {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
	}
}
