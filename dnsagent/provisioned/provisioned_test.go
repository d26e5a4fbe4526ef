package provisioned

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/overlay/records"
	"thor/subjects"
)

// network answers in the place of provisioning servers.
type network struct {
	members []subjects.Member
	lists   map[subjects.NodeID]*records.List // nil: no answer
	asked   []uint64
	off     bool
}

func (n *network) ID() subjects.NodeID { return "ns1" }

func (n *network) View() *overlay.View {
	return &overlay.View{Connected: !n.off, Status: &subjects.Status{Roles: map[subjects.Role][]subjects.Member{subjects.ProvisioningServer: n.members}}}
}

func (n *network) Ask(_ context.Context, subject string, data []byte) (*subjects.Reply, error) {
	to, err := subjects.ParseRequest(subject)
	if err != nil || to.Verb != subjects.VerbRecords || to.SenderRole != subjects.DNSManager || to.Sender != "ns1" {
		return nil, errors.New("not as itself: " + subject)
	}
	q, err := records.ParseRequest(data)
	if err != nil {
		return nil, err
	}
	n.asked = append(n.asked, q.Have)
	l := n.lists[to.Node]
	if l == nil {
		return nil, overlay.ErrNoResponders
	}
	return &subjects.Reply{V: subjects.Version, Data: l.Answer(q.Have).Encode()}, nil
}

func list(revision uint64, lines ...string) *records.List {
	return &records.List{V: subjects.Version, Revision: revision, Records: lines}
}

// follow runs a Follower in the bubble.
func follow(t *testing.T, cfg Config) {
	t.Helper()
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRecordsAreFollowedAndNeverOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{members: []subjects.Member{{Node: "p1", State: subjects.Up}, {Node: "p2", State: subjects.Down}}, lists: map[subjects.NodeID]*records.List{"p1": list(3, "a")}}
		file := filepath.Join(t.TempDir(), "records.json")
		var taken [][]string
		cfg := Config{Node: n, File: file, Take: func(l []string) error { taken = append(taken, l); return nil }}
		follow(t, cfg)
		synctest.Wait()
		if len(taken) != 1 || taken[0][0] != "a" {
			t.Fatalf("at once: %v", taken)
		}
		time.Sleep(every / 2) // what changes here changes between two questions
		n.lists["p1"] = list(4, "a", "b")
		time.Sleep(2 * every)
		n.lists["p1"] = list(2, "old")
		time.Sleep(2 * every)
		n.lists["p1"] = nil
		n.lists["p2"] = list(5)
		time.Sleep(2 * every)
		if len(taken) != 3 || len(taken[1]) != 2 || len(taken[2]) != 0 {
			t.Errorf("taken: %v", taken)
		}
		if n.asked[0] != 0 || !slices.Contains(n.asked, 4) || n.asked[len(n.asked)-1] != 5 {
			t.Errorf("asked with %v", n.asked)
		}
	})
}

func TestRecordsOutliveTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{members: []subjects.Member{{Node: "p1", State: subjects.Up}}, lists: map[subjects.NodeID]*records.List{"p1": list(3, "a")}}
		file := filepath.Join(t.TempDir(), "records.json")
		follow(t, Config{Node: n, File: file, Take: func([]string) error { return nil }})
		synctest.Wait()
		n.off = true
		var taken []string
		f, err := New(Config{Node: n, File: file, Take: func(l []string) error { taken = l; return nil }})
		if err != nil || len(taken) != 1 || f.have != 3 {
			t.Errorf("%v, %v", taken, err)
		}
		for what, bad := range map[string]string{"cut off": `{"v":1,"rec`, "of another version": `{"v":9}`, "empty": ""} {
			if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			taken = nil
			f, err := New(Config{Node: n, File: file, Take: func(l []string) error { taken = l; return nil }})
			if err != nil || taken != nil || f.have != 0 {
				t.Errorf("a file that is %s: %v, %v", what, taken, err)
			}
		}
	})
}

// What cannot be taken is asked for again, and an outage is one line.
func TestAnOutageIsOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{members: []subjects.Member{{Node: "p1", State: subjects.Up}}, lists: map[subjects.NodeID]*records.List{}}
		var log bytes.Buffer
		refuse := true
		var taken []string
		follow(t, Config{Node: n, Log: zerolog.New(&log), Take: func(l []string) error {
			if refuse {
				return errors.New("refused")
			}
			taken = l
			return nil
		}})
		time.Sleep(5 * every)
		n.lists["p1"] = list(3, "a")
		time.Sleep(5 * every)
		if got := strings.Count(log.String(), "the last ones stay"); got != 1 || taken != nil {
			t.Errorf("%d lines, taken %v:\n%s", got, taken, log.String())
		}
		refuse = false
		time.Sleep(2 * every)
		if strings.Count(log.String(), "known again") != 1 || len(taken) != 1 {
			t.Errorf("taken %v:\n%s", taken, log.String())
		}
		n.off, n.members = true, nil
		log.Reset()
		time.Sleep(5 * every)
		if log.Len() > 0 {
			t.Errorf("a network without provisioning servers: %s", log.String())
		}
	})
}

// A list that is far shorter than the one before is told, with the server that gave it.
func TestMostRecordsGoneIsTold(t *testing.T) {
	var log bytes.Buffer
	f, err := New(Config{Node: &network{}, Take: func([]string) error { return nil }, Log: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	lines := func(n int) []string { return slices.Repeat([]string{"a"}, n) }
	for _, x := range []struct {
		revision uint64
		records  int
		told     bool
	}{{1, 9, false}, {2, 0, false}, {3, 20, false}, {4, 10, false}, {5, 4, true}, {6, 0, false}} {
		log.Reset()
		if err := f.take("p1", list(x.revision, lines(x.records)...)); err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(log.String(), "most provisioned records are gone") && strings.Contains(log.String(), `"peer":"p1"`); told != x.told {
			t.Errorf("%d records at revision %d: %s", x.records, x.revision, log.String())
		}
	}
}
