package broker

import (
	"slices"
	"testing"
	"time"
)

func TestWhichGroupsAreStuck(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(0, 0).Add(time.Duration(s) * time.Second) }
	stuck := func(raft string, here ...string) bucketGroup {
		return bucketGroup{stream: "S", raft: raft, size: 3, here: here}
	}
	led := bucketGroup{stream: "S", raft: "g", leader: "b3", size: 3}
	type look struct {
		at   int
		self string
		is   []bucketGroup
		want []string
	}
	for name, looks := range map[string][]look{
		"no leader for 20 s":          {{0, "b1", []bucketGroup{stuck("g", "b1", "b3")}, nil}, {19, "b1", []bucketGroup{stuck("g", "b1", "b3")}, nil}, {20, "b1", []bucketGroup{stuck("g", "b1", "b3")}, []string{"S"}}},
		"another broker is the first": {{0, "b3", []bucketGroup{stuck("g", "b1", "b3")}, nil}, {60, "b3", []bucketGroup{stuck("g", "b1", "b3")}, nil}},
		"most brokers are elsewhere":  {{0, "b1", []bucketGroup{stuck("g", "b1")}, nil}, {60, "b1", []bucketGroup{stuck("g", "b1")}, nil}},
		"half of four":                {{0, "b1", []bucketGroup{{stream: "S", raft: "g", size: 4, here: []string{"b1", "b2"}}}, nil}, {60, "b1", []bucketGroup{{stream: "S", raft: "g", size: 4, here: []string{"b1", "b2"}}}, nil}},
		"a leader in between":         {{0, "b1", []bucketGroup{stuck("g", "b1", "b3")}, nil}, {10, "b1", []bucketGroup{led}, nil}, {25, "b1", []bucketGroup{stuck("g", "b1", "b3")}, nil}},
		"the brokers went in between": {{0, "b1", []bucketGroup{stuck("g", "b1", "b3")}, nil}, {10, "b1", []bucketGroup{stuck("g", "b1")}, nil}, {25, "b1", []bucketGroup{stuck("g", "b1", "b3")}, nil}},
		"made anew":                   {{0, "b1", []bucketGroup{stuck("g", "b1", "b3")}, nil}, {25, "b1", []bucketGroup{stuck("h", "b1", "b3")}, nil}},
		"led":                         {{0, "b1", []bucketGroup{led}, nil}, {60, "b1", []bucketGroup{led}, nil}},
	} {
		var g stuckGroups
		for _, l := range looks {
			if is := g.due(at(l.at), l.self, l.is); !slices.Equal(is, l.want) {
				t.Errorf("%s: after %d s %v, want %v", name, l.at, is, l.want)
			}
		}
	}
}
