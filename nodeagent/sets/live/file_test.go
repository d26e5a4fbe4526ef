package live_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thor/nodeagent/sets"
)

const (
	byHand = "1 sip:192.0.2.50:5060\n2 sip:192.0.2.60:5060 0\n"
	line1  = "1 sip:192.0.2.50:5060 0 0 node=x;rweight=100\n"
	line9  = "9 sip:192.0.2.90:5060 0 0 node=x;rweight=100\n"
	table  = "dispatcher of the Kamailio of sip_proxy: "
)

func TestLinesByHandStayUntilAllSetsHaveMembers(t *testing.T) {
	prepare := func(d *double) { put(t, d.file, byHand) }
	onStage(t, prepare, func(t *testing.T, s *stage) {
		for _, members := range [][]string{nil, {mailbox}} {
			s.net.say(nil, members...)
			s.pass(10 * time.Second)
			if got := contents(t, s.file); got != byHand {
				t.Fatalf("%q: %q", members, got)
			}
			if want := table + s.file + " has 2 lines that thor did not write: move them away"; s.faults() != want {
				t.Errorf("%q: %q, not %q", members, s.faults(), want)
			}
		}
		if s.reloads > 0 {
			t.Errorf("%d reloads", s.reloads)
		}
		// Written as thor writes it, a line is one of the set that stays.
		put(t, s.file, line1)
		s.pass(10 * time.Second)
		if s.String() != "1 192.0.2.50, 2 192.0.2.7" || !strings.Contains(contents(t, s.file), line1) || s.faults() != "" {
			t.Errorf("%s, %q, %q", s, contents(t, s.file), s.faults())
		}
	})
	onStage(t, prepare, func(t *testing.T, s *stage) {
		s.net.say(nil, mailbox)
		s.pass(10 * time.Second)
		s.net.say(nil, mailbox, proxy1)
		s.pass(10 * time.Second)
		if s.String() != "1 192.0.2.1, 2 192.0.2.7" || s.faults() != "" {
			t.Errorf("%s, %q", s, s.faults())
		}
	})
}

func TestLinesByHandInAFileWithoutEntriesStay(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		s.net.say(nil)
		s.pass(10 * time.Second)
		put(t, s.file, byHand)
		s.net.say(nil, mailbox)
		s.pass(10 * time.Second)
		if got := contents(t, s.file); got != byHand {
			t.Errorf("%q", got)
		}
	})
}

func TestAFileThatCannotBeReadStays(t *testing.T) {
	onStage(t, func(d *double) {
		if err := os.Symlink(d.file, d.file); err != nil {
			t.Fatal(err)
		}
	}, func(t *testing.T, s *stage) {
		s.net.say(nil, mailbox)
		s.pass(10 * time.Second)
		if _, err := os.Readlink(s.file); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(s.faults(), table+"its file would be lost, move it away: open "+s.file) {
			t.Errorf("%q", s.faults())
		}
		if err := os.Remove(s.file); err != nil {
			t.Fatal(err)
		}
		s.pass(10 * time.Second)
		if s.String() != "2 192.0.2.7" || s.faults() != "" {
			t.Errorf("%s, %q", s, s.faults())
		}
	})
}

func TestAFileIsNotEmptied(t *testing.T) {
	onStage(t, func(d *double) { put(t, d.file, line9) }, func(t *testing.T, s *stage) {
		s.net.say(nil)
		s.pass(10 * time.Second)
		if got := contents(t, s.file); got != line9 || s.faults() != "" {
			t.Errorf("%q, %q", got, s.faults())
		}
		s.net.say(nil, mailbox)
		s.pass(10 * time.Second)
		if s.String() != "2 192.0.2.7" {
			t.Errorf("a group that is not configured: %s", s)
		}
	})
}

func TestAFileThatSomethingElseChangesIsWrittenAgain(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		s.net.say(nil, proxy1, mailbox)
		s.pass(10 * time.Second)
		put(t, s.file, byHand)
		s.restart()
		s.pass(2 * time.Second)
		if s.String() != "1 192.0.2.1, 2 192.0.2.7" || s.faults() != "" {
			t.Errorf("after a restart: %s, %q", s, s.faults())
		}
		s.before = func() { put(t, s.file, byHand) }
		s.net.say(nil, proxy1, proxy2, mailbox)
		s.pass(10 * time.Second)
		if s.String() != "1 192.0.2.1, 1 192.0.2.2, 2 192.0.2.7" || s.faults() != "" {
			t.Errorf("before a reload: %s, %q", s, s.faults())
		}
	})
}

func TestAnEntryThatStaysAfterAReloadIsReloaded(t *testing.T) {
	onStage(t, nil, func(t *testing.T, s *stage) {
		s.net.say(nil, proxy1, proxy2)
		s.pass(10 * time.Second)
		s.stale = 1
		s.net.say(nil, proxy1)
		s.pass(100 * time.Millisecond)
		if want := table + "1 entries that are not wanted are there after the reload: "; !strings.HasPrefix(s.faults(), want) {
			t.Errorf("%q, not %q", s.faults(), want)
		}
		s.pass(10 * time.Second)
		if s.String() != "1 192.0.2.1" || s.faults() != "" {
			t.Errorf("%s, %q", s, s.faults())
		}
	})
}

func TestARefusalToReloadThatLastsIsAFault(t *testing.T) {
	ongoing, short := busy(t, "ongoing reload"), busy(t, "Too short reload interval")
	onStage(t, nil, func(t *testing.T, s *stage) {
		for _, members := range [][]string{{proxy1}, {proxy1, proxy2}} { // twice: it may pass and come again
			s.busy = ongoing
			s.net.say(nil, members...)
			s.pass(14 * time.Second)
			if s.faults() != "" {
				t.Errorf("after 14 s: %q", s.faults())
			}
			s.pass(2 * time.Second)
			if want := table + `dispatcher.reload: 500 "ongoing reload"`; s.faults() != want {
				t.Errorf("after 16 s: %q, not %q", s.faults(), want)
			}
			s.busy = nil
			s.pass(time.Second)
			if s.faults() != "" {
				t.Errorf("%q", s.faults())
			}
		}
		if n := s.log.count("Kamailio refuses to reload so often, retrying"); n != 2 {
			t.Errorf("%d lines, two are wanted", n)
		}
		s.down = errDown
		s.pass(5 * time.Second)
		if s.faults() != table+errDown.Error() {
			t.Errorf("%q", s.faults())
		}
		s.down, s.busy = nil, short
		s.pass(10 * time.Second)
		if s.faults() != table+`dispatcher.reload: 500 "Too short reload interval"` {
			t.Errorf("another failure before: %q", s.faults())
		}
	})
}

func TestTheTimeOfAFileDoesNotRunAheadWhileReloadsAreRefused(t *testing.T) {
	c := &sets.Config{RTPEngineDir: t.TempDir(), RTPEngine: []sets.RTPEngine{{}}}
	refusal := busy(t, "Too short reload interval")
	onStageOf(t, c, func(d *double) { d.busy = refusal }, func(t *testing.T, s *stage) {
		at := func() time.Time {
			fi, err := os.Stat(filepath.Join(c.RTPEngineDir, "rtpengine"))
			if err != nil {
				t.Fatal(err)
			}
			return fi.ModTime()
		}
		s.net.say(nil, relay1)
		s.pass(2 * time.Second)
		first, reloads := at(), s.reloads
		s.pass(10 * time.Second)
		if s.reloads < reloads+10 || !at().Equal(first) {
			t.Errorf("%d more reloads, %v after %v", s.reloads-reloads, at(), first)
		}
	})
}
