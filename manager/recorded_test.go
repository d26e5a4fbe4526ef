package manager_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/overlay/history"
	"thor/subjects"
)

// moment is what an observer held at a time.
type moment struct {
	at   time.Time
	mark subjects.Mark
	full []byte
}

// TestHistoryTellsWhatObserversSaw has a network live for some minutes, through a
// crash of a member and of the active manager, and compares each second of the past,
// as the history tells it, with what an observer held then.
func TestHistoryTellsWhatObserversSaw(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		m1, m2 := candidate(t, b, "m1", t.TempDir()), candidate(t, b, "m2", t.TempDir())
		op := join(t, b, "op1", subjects.Operator)
		op.run(t)
		var seen []moment
		live := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(663 * time.Millisecond) {
				time.Sleep(337 * time.Millisecond) // a moment apart from those at which things happen
				if v := op.node.View(); v.Status != nil {
					seen = append(seen, moment{time.Now(), v.Status.Mark(), v.Encoded})
				}
			}
		}
		live(5 * time.Second)
		member(t, b, "n1", subjects.SIPProxy)
		n2 := member(t, b, "n2", subjects.SIPProxy)
		member(t, b, "n3", subjects.SIPProxy)
		live(10 * time.Second)
		if err := op.node.Conn().Publish(subjects.RequestFrom("op1", "n1", subjects.Agent, subjects.VerbDrain), nil); err != nil {
			t.Fatal(err)
		}
		live(5 * time.Second)
		n2.node.Conn().Close() // what a kill does
		live(5 * time.Second)
		old := leaders(m1, m2)[0]
		old.node.Conn().Close()
		live(12 * time.Minute)

		var r history.Replay
		e := history.Events{Since: time.Now().Add(-time.Hour)}
		statuses := 0
		bad, err := op.node.ReadHistory(t.Context(), time.Now().Add(-time.Hour), func(x *subjects.Record) bool {
			r.Add(x)
			e.Add(x)
			if x.Status != nil {
				statuses++
			}
			return true
		})
		if err != nil || bad != 0 {
			t.Fatal(bad, err)
		}
		if statuses < 4 { // two terms and twice five minutes
			t.Errorf("%d statuses", statuses)
		}
		last := 0
		for _, x := range seen {
			s, err := r.At(x.at)
			if open := (*history.OpenError)(nil); err != nil && errors.As(err, &open) {
				last++
				continue
			}
			if err != nil {
				t.Fatalf("at %s: %v", x.at, err)
			}
			if !bytes.Equal(s.Encode(), x.full) {
				t.Fatalf("at %s the history has %v, an observer had %v", x.at, s.Mark(), x.mark)
			}
		}
		if last > 300 || len(seen) < 700 {
			t.Errorf("%d of %d moments are after the last record", last, len(seen))
		}
		var lines []string
		for _, x := range e.All() {
			lines = append(lines, fmt.Sprintf("%s %s %s %s", x.Kind, x.Role, x.Node, strings.TrimSpace(string(x.Cause)+" "+string(x.By))))
		}
		for _, want := range []string{
			"elected thor_manager " + string(old.node.ID()) + " ", "join sip_proxy n1 join", "join sip_proxy n2 join", "drain  n1 op1",
			"leave sip_proxy n2 connection_lost",
		} {
			if !slices.Contains(lines, want) {
				t.Errorf("no event %q in\n%s", want, strings.Join(lines, "\n"))
			}
		}
		if n := strings.Count(strings.Join(lines, "\n"), "elected"); n != 2 {
			t.Errorf("%d elections in\n%s", n, strings.Join(lines, "\n"))
		}
	})
}

func TestHistoryIsForOperatorsAndMonitors(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		candidate(t, b, "m1", "")
		for _, c := range []struct {
			role subjects.Role
			may  bool
		}{{subjects.Operator, true}, {subjects.Monitor, true}, {subjects.SIPProxy, false}} {
			p := join(t, b, "x1", c.role)
			p.run(t)
			within(t, 10*time.Second, "it is connected", p.node.Connected)
			var first time.Time
			var err error
			within(t, 20*time.Second, "an answer", func() bool {
				first, _, err = p.node.HistoryBegins(t.Context())
				return err != nil || !first.IsZero()
			})
			if c.may != (err == nil) || !c.may && !errors.Is(err, overlay.ErrForbidden) {
				t.Errorf("%s: begins at %s, %v", c.role, first, err)
			}
			p.stop()
		}
	})
}

// Many short reads, such as those of a web view, are no more to a broker than a long
// one: it cuts off who asks for more than 50 pages at once, or 5 a second.
func TestManyShortReadsOfTheHistoryArePaced(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		candidate(t, b, "m1", "")
		p := join(t, b, "x1", subjects.Monitor)
		p.run(t)
		within(t, 30*time.Second, "an answer", func() bool {
			first, _, err := p.node.HistoryBegins(t.Context())
			return err == nil && !first.IsZero()
		})
		began := time.Now()
		for i := range 150 {
			if _, _, err := p.node.HistoryBegins(t.Context()); err != nil {
				t.Fatalf("the answer %d: %v", i, err)
			}
		}
		if took := time.Since(began); 50+5*took.Seconds() < 150 {
			t.Errorf("150 reads within %s", took)
		}
		p.stop()
	})
}
