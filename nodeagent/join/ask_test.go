package join_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"thor/overlay"
	"thor/subjects"
)

var watchers = &subjects.ControlCommand{ID: 1, Verb: subjects.ControlWatchers, Entity: "a@b"}

// an answered is what Command returned.
type answered struct {
	code int
	data string
	ok   bool
}

// command gives a command in the background, for at most a second.
func (m *machine) command(c *subjects.ControlCommand) <-chan answered {
	out := make(chan answered, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		code, data, ok := m.service.Command(ctx, c, "x1")
		out <- answered{code, data, ok}
	}()
	return out
}

func TestCommandsAndTheirAnswers(t *testing.T) {
	inVirtualTime(t, func(m *machine, _ chan<- *overlay.View) {
		if got := <-m.command(watchers); got.ok {
			t.Errorf("without a program: %+v", got)
		}
		quiet := m.ask("POST", "/join/fax_server", "{}\n")
		quiet.read("self")
		if got := <-m.command(watchers); got.ok {
			t.Errorf("a program that takes none: %+v", got)
		}
		quiet.say(`{"leave":true}`)
		if _, err := io.ReadAll(quiet.lines); err != nil {
			t.Fatal(err)
		}
		p := m.ask("POST", "/join/fax_server", `{"control":true}`+"\n")
		p.read("self")
		id := uint64(0)
		for _, c := range []struct {
			answer string // %d is the number of the command; empty: none
			want   answered
		}{
			{`{"answer":{"id":%d,"code":200,"data":"[]"}}`, answered{200, "[]", true}},
			{`{"answer":{"id":%d,"code":404,"data":"nobody"}}`, answered{404, "nobody", true}},
			{`{"answer":{"id":%d,"code":99}}`, answered{subjects.ControlUnavailable, "the program is gone, or its answer has no code", true}},
			{`{"answer":{"id":%d,"code":600}}`, answered{subjects.ControlUnavailable, "the program is gone, or its answer has no code", true}},
			{``, answered{subjects.ControlUnavailable, "the program does not answer", true}},
		} {
			done := m.command(watchers)
			l := p.read("command")["command"].(map[string]any)
			if l["text"] != watchers.Text() || l["node"] != "x1" {
				t.Errorf("the program is told %v", l)
			}
			if id++; l["id"] != float64(id) {
				t.Errorf("command %v, not %d", l["id"], id)
			}
			if c.answer != "" {
				p.say(fmt.Sprintf(c.answer, id))
			}
			if got := <-done; got != c.want {
				t.Errorf("%s: %+v, not %+v", c.answer, got, c.want)
			}
		}
		// An answer that comes late, or to nothing, ends nothing.
		p.say(`{"answer":{"id":5,"code":200}}`)
		p.say(`{"answer":{"id":4711,"code":200}}`)
		done := m.command(watchers)
		p.read("command")
		p.say(`{"answer":{"id":6,"code":200,"data":"still here"}}`)
		if got := <-done; got.data != "still here" {
			t.Errorf("%+v", got)
		}
		// A notification has no number, and is not answered.
		if got := <-m.command(&subjects.ControlCommand{ID: 1, Verb: subjects.ControlNotify, Operation: "update", Type: "sip_account", Entity: "a@b"}); got != (answered{subjects.ControlOK, "", true}) {
			t.Errorf("%+v", got)
		}
		if l := p.read("command")["command"].(map[string]any); l["id"] != nil || l["text"] != "notify update sip_account a@b" {
			t.Errorf("%v", l)
		}
	})
}

// Of many commands each waits for its own answer, and there is a bound; whoever waits
// when the program leaves is answered.
func TestCommandsWaitTogetherUpToABound(t *testing.T) {
	inVirtualTime(t, func(m *machine, _ chan<- *overlay.View) {
		p := m.ask("POST", "/join/fax_server", `{"control":true}`+"\n")
		p.read("self")
		const most = 64
		var waiting []<-chan answered
		for range most {
			waiting = append(waiting, m.command(watchers))
			p.read("command")
		}
		if got := <-m.command(watchers); got.code != subjects.ControlUnavailable || got.data != "the program is gone, or has too many commands" {
			t.Errorf("one too many: %+v", got)
		}
		p.say(`{"answer":{"id":64,"code":200,"data":"last"}}`)
		if got := <-waiting[most-1]; got.data != "last" {
			t.Errorf("%+v", got)
		}
		p.say(`{"leave":true}`)
		synctest.Wait()
		for i, w := range waiting[:most-1] {
			if got := <-w; got.code != subjects.ControlUnavailable || got.data != "the program is gone, or its answer has no code" {
				t.Fatalf("%d: %+v", i, got)
			}
		}
		if got := <-m.command(watchers); got.ok {
			t.Errorf("after the program left: %+v", got)
		}
	})
}
