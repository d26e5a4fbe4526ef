package overlay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/subjects"
)

func ask(t testing.TB, n *overlay.Node, subject string) *overlay.DrainReply {
	t.Helper()
	r, err := n.Ask(t.Context(), subject, nil)
	if err != nil {
		t.Fatal(err)
	}
	var d overlay.DrainReply
	if err := json.Unmarshal(r.Data, &d); err != nil || r.Code != "" {
		t.Fatalf("%+v: %v", r, err)
	}
	return &d
}

func TestOperatorDrainsAndResumesAndARestartRemembers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		as := announcements(t, b.Dial("m1", subjects.Manager))
		cfg := config(t, b, "n1", "media_relay", "sip_proxy")
		var audited bytes.Buffer
		cfg.Audit = audit.To(&audited)
		n, stop := run(t, cfg)
		proxy := mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		relay := mustJoin(t, n, overlay.Member{Role: "media_relay"})
		ready(t, n)
		op, _ := run(t, config(t, b, "op", subjects.Operator))
		ready(t, op)

		start := time.Now()
		d := ask(t, op, subjects.RequestFrom("op", "n1", "sip_proxy", "drain"))
		if d.Boot != "boot-n1" || !slices.Equal(d.Drained, []subjects.Role{"sip_proxy"}) || len(d.Roles) != 2 {
			t.Errorf("%+v", d)
		}
		a := nextState(t, as, "sip_proxy", subjects.Draining)
		if d := time.Since(start); d > time.Millisecond {
			t.Errorf("announced after %v", d)
		}
		if a.Reason == "" || !proxy.Drained() || relay.Drained() {
			t.Errorf("%s %v %v", a.Encode(), proxy.Drained(), relay.Drained())
		}
		proxy.Update(func(m *overlay.Member) { m.State, m.Reason = subjects.Down, "dead" })
		for range 5 {
			if a := next(t, as, 2*time.Second); a.Role == "sip_proxy" && a.State != subjects.Draining {
				t.Errorf("a drained member says %s", a.State)
			}
		}
		stop()

		cfg.Boot = "again"
		n, _ = run(t, cfg)
		proxy = mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		ready(t, n)
		for a := nextState(t, as, "sip_proxy", subjects.Draining); a.Boot != "again"; {
			a = nextState(t, as, "sip_proxy", subjects.Draining)
		}
		if !proxy.Drained() {
			t.Error("forgotten")
		}
		if d := ask(t, op, subjects.AgentRequestFrom("op", "n1", "drain")); len(d.Drained) != 1 {
			t.Errorf("%+v", d)
		}
		relay = mustJoin(t, n, overlay.Member{Role: "media_relay"})
		if !relay.Drained() {
			t.Error("joined a drained node and is not drained")
		}
		synctest.Wait()
		if d := ask(t, op, subjects.RequestFrom("op", "n1", "sip_proxy", "resume")); !slices.Equal(d.Drained, []subjects.Role{"media_relay"}) {
			t.Errorf("%+v", d)
		}
		nextState(t, as, "sip_proxy", subjects.Up)
		if d := ask(t, op, subjects.AgentRequestFrom("op", "n1", "resume")); len(d.Drained) != 0 || relay.Drained() {
			t.Errorf("%+v", d)
		}
		for _, want := range []string{
			`"who":"op","act":"drain","what":"sip_proxy of n1"`, `"who":"op","act":"drain","what":"all roles of n1"`,
			`"who":"op","act":"resume","what":"sip_proxy of n1"`, `"who":"op","act":"resume","what":"all roles of n1"`,
		} {
			if strings.Count(audited.String(), want) != 1 {
				t.Errorf("audit log lacks %s:\n%s", want, audited.String())
			}
		}
	})
}

// A drain of what is no role is refused, and spoils no other drain.
func TestDrainOfNoRoleIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		cfg := config(t, b, "n1", "sip_proxy")
		n, stop := run(t, cfg)
		ready(t, n)
		if err := n.Drain("sip_proxy"); err != nil {
			t.Fatal(err)
		}
		for _, r := range []subjects.Role{"", "A B", "*"} {
			if n.Drain(r) == nil || n.Resume(r) == nil {
				t.Errorf("%q is taken", r)
			}
		}
		stop()
		n, _ = run(t, cfg)
		m := mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		ready(t, n)
		if !m.Drained() {
			t.Error("the good drain is forgotten")
		}
	})
}

// Handlers that wait for somebody keep no operator from draining the node.
func TestDrainIsAnsweredWhileHandlersHang(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		hanging := make(chan struct{}, 100)
		n.Handle(subjects.Agent, "subscriber", func(ctx context.Context, _ *overlay.Request) *subjects.Reply {
			hanging <- struct{}{}
			<-ctx.Done()
			return nil
		})
		n.Handle(subjects.Agent, subjects.VerbLookup, func(context.Context, *overlay.Request) *subjects.Reply {
			return &subjects.Reply{V: subjects.Version}
		})
		ready(t, n)
		op, _ := run(t, config(t, b, "op", subjects.Operator))
		ready(t, op)
		manager := b.Dial("m1", subjects.Manager, subjects.ProvisioningServer)
		for range 40 {
			if err := manager.Publish(subjects.AgentRequestFrom("m1", "n1", "subscriber"), nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(hanging) == 0 {
			t.Fatal("no handler hangs")
		}
		start := time.Now()
		if d := ask(t, op, subjects.AgentRequestFrom("op", "n1", "drain")); len(d.Drained) != 1 {
			t.Errorf("%+v", d)
		}
		if r, err := op.Ask(t.Context(), subjects.AgentRequest("n1", subjects.VerbLookup), nil); err != nil || r.Code != "" {
			t.Errorf("lookup: %+v %v", r, err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("answered after %v", d)
		}
	})
}

func TestEveryProcessOfANodeAnswersForItsOwnRoles(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		for _, r := range []subjects.Role{"media_relay", "sip_proxy"} {
			cfg := config(t, b, "n1", "media_relay", "sip_proxy")
			cfg.Boot = string(r)
			n, _ := run(t, cfg)
			mustJoin(t, n, overlay.Member{Role: r})
			ready(t, n)
		}
		op, _ := run(t, config(t, b, "op", subjects.Operator))
		ready(t, op)
		replies, err := op.AskAll(t.Context(), subjects.AgentRequestFrom("op", "n1", "drain"), nil, time.Second)
		if err != nil || len(replies) != 2 {
			t.Fatalf("%d replies, %v", len(replies), err)
		}
		var boots []string
		for _, r := range replies {
			var d overlay.DrainReply
			if err := json.Unmarshal(r.Data, &d); err != nil || len(d.Drained) != 1 || string(d.Drained[0]) != d.Boot {
				t.Errorf("%s %v", r.Data, err)
			}
			boots = append(boots, d.Boot)
		}
		if slices.Sort(boots); !slices.Equal(boots, []string{"media_relay", "sip_proxy"}) {
			t.Errorf("answers of %v", boots)
		}
	})
}

func TestQuestionsThatCannotBeAnsweredSayWhy(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		n.Handle("sip_proxy", "wait", func(ctx context.Context, _ *overlay.Request) *subjects.Reply {
			<-ctx.Done()
			return nil
		})
		n.Handle("sip_proxy", "garbage", func(context.Context, *overlay.Request) *subjects.Reply { return &subjects.Reply{V: 99} })
		op, err := overlay.New(config(t, b, "op", subjects.Operator))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := op.Ask(t.Context(), subjects.AgentRequestFrom("op", "n1", "drain"), nil); !errors.Is(err, overlay.ErrNotConnected) {
			t.Errorf("before the connection: %v", err)
		}
		op, _ = run(t, config(t, b, "op", subjects.Operator))
		ready(t, n)
		ready(t, op)
		for subject, want := range map[string]error{
			subjects.AgentRequestFrom("op", "n7", "drain"):           overlay.ErrNoResponders,
			subjects.RequestFrom("op", "n1", "media_relay", "drain"): overlay.ErrNoResponders,
			subjects.Request("n1", "sip_proxy", "nothing"):           overlay.ErrNoResponders,
			subjects.AgentRequestFrom("n2", "n1", "drain"):           overlay.ErrForbidden,
			subjects.Request("n1", "sip_proxy", "wait"):              context.DeadlineExceeded,
		} {
			if _, err := op.Ask(t.Context(), subject, nil); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", subject, err, want)
			}
			if _, err := op.AskAll(t.Context(), subject, nil, time.Second); want != context.DeadlineExceeded && !errors.Is(err, want) {
				t.Errorf("all at %s: %v, want %v", subject, err, want)
			}
		}
		if _, err := op.Ask(t.Context(), subjects.Request("n1", "sip_proxy", "garbage"), nil); subjects.CodeOf(err) != subjects.CodeVersion {
			t.Errorf("malformed answer: %v", err)
		}
	})
}

func TestHandlersGetWhatIsTheirsAndTheSDKKeepsItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		n, _ := run(t, config(t, b, "n1", subjects.Database))
		got := make(chan *overlay.Request, 10)
		h := func(_ context.Context, r *overlay.Request) *subjects.Reply {
			got <- r
			return &subjects.Reply{V: 1, Text: "done"}
		}
		n.Handle(string(subjects.Database), "credentials", h)
		n.Handle(subjects.Agent, "drain", h)                                 // refused
		n.Handle("not a role", "verb", h)                                    // refused
		for _, verb := range []string{"", "two words", "a..b", ".a", "a."} { // refused
			n.Handle(subjects.Agent, verb, h)
		}
		ready(t, n)
		n.Handle(subjects.Agent, "later", h)
		synctest.Wait()
		asker, _ := run(t, config(t, b, "n2", "sip_proxy"))
		op, _ := run(t, config(t, b, "op", subjects.Operator))
		ready(t, asker)
		ready(t, op)
		subject := subjects.Credentials("n1", "sip_proxy", "n2")
		if r, err := asker.Ask(t.Context(), subject, []byte("data")); err != nil || r.Text != "done" {
			t.Fatal(r, err)
		}
		if r := <-got; r.Subject != subject || string(r.Data) != "data" || r.Reply == "" {
			t.Errorf("%+v", r)
		}
		if _, err := op.Ask(t.Context(), subjects.AgentRequest("n1", "later"), nil); err != nil {
			t.Error(err)
		}
		if d := ask(t, op, subjects.AgentRequestFrom("op", "n1", "drain")); d.Boot != "boot-n1" {
			t.Errorf("%+v", d)
		}
		if _, err := asker.Ask(t.Context(), subjects.AgentRequestFrom("n2", "n1", "drain"), nil); !errors.Is(err, overlay.ErrForbidden) {
			t.Errorf("a member drained another: %v", err)
		}
	})
}

// A drain may end by itself, also after a restart, and says why it is.
func TestADrainEndsByItself(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		as := announcements(t, b.Dial("m1", subjects.Manager))
		c := config(t, b, "n1", "sip_proxy")
		n, end := run(t, c)
		mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		ready(t, n)
		op, _ := run(t, config(t, b, "op", subjects.Operator))
		ready(t, op)
		drain := func(q subjects.DrainRequest) *subjects.Reply {
			r, err := op.Ask(t.Context(), subjects.RequestFrom("op", "n1", "sip_proxy", "drain"), q.Encode())
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		for _, q := range []subjects.DrainRequest{{V: 1, For: -1}, {V: 1, For: 31 * 86400}, {V: 1, Reason: "two\nlines"}, {V: 2}} {
			if r := drain(q); r.Code != subjects.ErrorBad {
				t.Errorf("%+v: %+v", q, r)
			}
		}
		var d overlay.DrainReply
		if err := json.Unmarshal(drain(subjects.DrainRequest{V: 1, For: 60, Reason: "new kernel"}).Data, &d); err != nil {
			t.Fatal(err)
		}
		if x := d.Drains["sip_proxy"]; x.By != "op" || x.Reason != "new kernel" || time.Until(x.Until) > time.Minute || time.Until(x.Until) < 58*time.Second {
			t.Errorf("%+v", x)
		}
		if a := nextState(t, as, "sip_proxy", subjects.Draining); !strings.HasPrefix(a.Reason, "drained by op until 20") || !strings.HasSuffix(a.Reason, "Z: new kernel") {
			t.Errorf("%s", a.Encode())
		}
		time.Sleep(20 * time.Second)
		end()
		n, _ = run(t, c)
		again := mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		ready(t, n)
		time.Sleep(time.Second)
		if !again.Drained() {
			t.Error("a restart ended the drain")
		}
		time.Sleep(40 * time.Second)
		if again.Drained() {
			t.Error("the drain did not end")
		}
		if again.Update(func(*overlay.Member) {}); again.DrainReason() != "" {
			t.Error(again.DrainReason())
		}
	})
}

// A request that would change something names its sender, or changes nothing.
func TestWhatChangesSomethingNamesItsSender(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		m := mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		ready(t, n)
		op, _ := run(t, config(t, b, "op", subjects.Operator))
		ready(t, op)
		for _, s := range []string{subjects.AgentRequest("n1", "drain"), subjects.Request("n1", "sip_proxy", "drain"), subjects.Request("n1", "sip_proxy", "duplicate")} {
			if r, err := op.Ask(t.Context(), s, []byte(`{"v":1}`)); err != nil || r.Code != subjects.ErrorForbidden || r.Text == "" {
				t.Errorf("%s: %+v, %v", s, r, err)
			}
		}
		if m.Drained() {
			t.Error("drained by a request without a sender")
		}
	})
}

// An answer counts only on the subject of its own request, on which the broker
// lets only its answerer publish.
func TestAnswersOfOthersAreNotTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		got := make(chan *overlay.Request, 1)
		free := make(chan struct{})
		n.Handle("sip_proxy", "slow", func(ctx context.Context, r *overlay.Request) *subjects.Reply {
			got <- r
			<-free
			return &subjects.Reply{V: 1, Text: "true"}
		})
		ready(t, n)
		op, _ := run(t, config(t, b, "op", subjects.Operator))
		ready(t, op)
		type answer struct {
			r   *subjects.Reply
			err error
		}
		answered := make(chan answer, 1)
		go func() {
			r, err := op.Ask(t.Context(), subjects.Request("n1", "sip_proxy", "slow"), nil)
			answered <- answer{r, err}
		}()
		reply := (<-got).Reply
		lie := (&subjects.Reply{V: 1, Text: "lie"}).Encode()
		liar := b.Dial("n2", "sip_proxy", subjects.DNSManager) // knows the token, and is not the one that was asked
		for _, s := range []string{
			reply, strings.Replace(reply, ".n1.", ".n2.", 1), strings.Replace(reply, "_ANSWER.op.n1.", "_INBOX.op.", 1), "_INBOX.op.x",
		} {
			if err := liar.Publish(s, lie); err != nil {
				t.Fatal(err)
			}
		}
		if err := liar.Flush(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(free)
		if a := <-answered; a.err != nil || a.r.Text != "true" {
			t.Errorf("%+v", a)
		}
	})
}

func TestAnswersGoToInboxesOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		n, _ := run(t, config(t, b, "n1", "sip_proxy"))
		mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		ready(t, n)
		as := announcements(t, b.Dial("m1", subjects.Manager))
		op := b.Dial("op", subjects.Operator)
		for _, reply := range []string{"thor.role.sip_proxy.n2", "$JS.API.STREAM.DELETE.KV_thor_status", "_INBOX.n2.x", "_ANSWER.n2.n1.x", "_ANSWER.op.n2.x"} {
			if err := op.PublishRequest(subjects.AgentRequestFrom("op", "n1", "drain"), reply, nil); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if a := next(t, as, 2*time.Second); a.Node != "n1" || a.State != subjects.Up {
				t.Errorf("%s", a.Encode())
			}
		}
	})
}

func TestDuplicateNoticeReachesTheOwner(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		manager := b.Dial("m1", subjects.Manager)
		cfg := config(t, b, "n1", "sip_proxy")
		told := make(chan []string, 10)
		cfg.OnDuplicate = func(role subjects.Role, boots []string) {
			if role != "sip_proxy" {
				t.Errorf("role %s", role)
			}
			told <- boots
		}
		n, _ := run(t, cfg)
		mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		ready(t, n)
		for _, data := range []string{"", "x", `{"v":2}`, `{"v":1,"boots":["boot-n1","other"]}`} {
			if err := manager.Publish(subjects.RequestFrom("m1", "n1", "sip_proxy", "duplicate"), []byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-told; !slices.Equal(got, []string{"boot-n1", "other"}) {
			t.Errorf("told %v", got)
		}
		if synctest.Wait(); len(told) != 0 {
			t.Error("told of nonsense")
		}
	})
}
