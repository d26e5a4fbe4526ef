package join_test

import (
	"errors"
	"io"
	"testing"

	"thor/nodeagent/join"
	"thor/overlay"
)

// Command finds the programs first and tells them then: meanwhile one may have ended, and
// its HTTP connection serve another request.
func TestAProgramThatIsGoneIsToldNothing(t *testing.T) {
	inVirtualTime(t, func(m *machine, _ chan<- *overlay.View) {
		p := m.ask("POST", "/join/fax_server", `{"control":true}`+"\n")
		p.read("self")
		tells := m.service.Tells()
		if len(tells) != 1 {
			t.Fatalf("%d programs take commands", len(tells))
		}
		p.say(`{"leave":true}`)
		if _, err := io.ReadAll(p.lines); err != nil {
			t.Fatal(err)
		}
		if err := tells[0](map[string]int{"ping": 0}); !errors.Is(err, join.ErrEnded) {
			t.Errorf("the line of a program that is gone: %v", err)
		}
	})
}
