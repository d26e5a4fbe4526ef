package galeranode_test

import (
	"testing"

	"thor/cmd/thor/internal/galeranode"
)

const uuid = "7f7bcd95-ecf2-11f1-b355-f361940a7596"

func TestStates(t *testing.T) {
	for _, s := range []galeranode.State{{UUID: uuid, Seqno: 5, Safe: true}, {UUID: uuid, Seqno: 0}, {UUID: uuid, Seqno: -1}} {
		if got := galeranode.Parse(s.String()); got != s {
			t.Errorf("%+v was written and %+v read", s, got)
		}
		if s.Known() != (s.Seqno >= 0) {
			t.Errorf("%+v is known: %v", s, s.Known())
		}
	}
	if s := galeranode.Parse(""); s.Known() || s.Safe {
		t.Errorf("no file is %+v", s)
	}
}

// Lines as MariaDB 10.11 writes them.
func TestRecovered(t *testing.T) {
	const head = "2026-11-30 19:20:50 0 [Note] WSREP: Recovered position: "
	for log, want := range map[string]galeranode.State{
		head + uuid + ":42,0-1-7\n[Note] end\n":                  {UUID: uuid, Seqno: 42},
		head + uuid + ":42":                                      {UUID: uuid, Seqno: 42},
		head + uuid + ":1\n" + head + uuid + ":2\n":              {UUID: uuid, Seqno: 2},
		head + "00000000-0000-0000-0000-000000000000:-1,0-0-0\n": {UUID: "00000000-0000-0000-0000-000000000000", Seqno: -1},
	} {
		if got, ok := galeranode.Recovered(log); !ok || got != want {
			t.Errorf("%q: %+v %v", log, got, ok)
		}
	}
	for _, log := range []string{"", head, head + "x:1", head + uuid + ":x"} {
		if got, ok := galeranode.Recovered(log); ok {
			t.Errorf("%q: %+v", log, got)
		}
	}
}

func TestTheNewestNodeBeginsAnew(t *testing.T) {
	type states = []galeranode.State
	for want, cases := range map[int][]states{
		0: {{{Seqno: 5}, {Seqno: 5}, {Seqno: 5}}, {{Seqno: -1}, {Seqno: -1}}, {{Seqno: 6}, {Seqno: 5, Safe: true}}},
		1: {{{Seqno: 4}, {Seqno: 5}, {Seqno: -1}}, {{Seqno: 5}, {Seqno: 5, Safe: true}}},
		2: {{{Seqno: 4}, {Seqno: 5}, {Seqno: 6}}},
	} {
		for _, c := range cases {
			if got := galeranode.Newest(c); got != want {
				t.Errorf("%+v: %d, want %d", c, got, want)
			}
		}
	}
}
