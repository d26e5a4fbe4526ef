package overlay

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

func TestAnswersReachTheirRequestAlone(t *testing.T) {
	var p pendingRequests
	open := func(subject string) (*openRequest, chan *nats.Msg) {
		t.Helper()
		answers := make(chan *nats.Msg, 1)
		r, err := p.add(t.Context(), "n1", subject, answers)
		if err != nil {
			t.Fatal(err)
		}
		return r, answers
	}
	drain, resume := subjects.AgentRequest("n2", subjects.VerbDrain), subjects.AgentRequest("n2", subjects.VerbResume)
	one, ones := open(drain)
	two, twos := open(drain)
	three, threes := open(resume)

	p.deliver(&nats.Msg{Subject: two.reply, Data: []byte("2")})
	p.deliver(&nats.Msg{Subject: two.reply, Data: []byte("no room")})
	p.deliver(&nats.Msg{Subject: two.reply + "0", Data: []byte("stranger")})
	if m := <-twos; string(m.Data) != "2" || len(ones)+len(twos)+len(threes) != 0 || !two.answeredBy(m) || one.answeredBy(m) {
		t.Errorf("got %q, and %d %d %d wait", m.Data, len(ones), len(twos), len(threes))
	}

	p.refuse(drain)
	for _, r := range []*openRequest{one, two} {
		if !errors.Is(context.Cause(r.ctx), ErrForbidden) {
			t.Errorf("refused: %v", context.Cause(r.ctx))
		}
	}
	if three.ctx.Err() != nil {
		t.Error("the refusal ended a request on another subject")
	}

	if three.replace(nil) != nil || three.ctx.Err() == nil {
		t.Error("a request that was replaced goes on")
	}
	p.deliver(&nats.Msg{Subject: three.reply})
	if len(threes) != 0 {
		t.Error("a request that has ended was answered")
	}
	one.end()
	two.end()
	if len(p.byReply) != 0 {
		t.Errorf("%d requests left", len(p.byReply))
	}
	var none *openRequest
	if none.answeredBy(&nats.Msg{}) || none.replace(one) != one {
		t.Error("no request has an answer")
	}
	if _, err := p.add(t.Context(), "n1", "nonsense", ones); err == nil {
		t.Error("a request to no member was made")
	}
}
