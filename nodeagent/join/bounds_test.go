package join_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent"
	"thor/nodeagent/join"
	"thor/overlay"
)

// A follower is an answer that tells when it may begin.
type follower struct {
	*httptest.ResponseRecorder
	taken func()
}

func (f follower) SetReadDeadline(time.Time) error {
	f.taken()
	return nil
}

// The bound is of connections, so one that ends makes room for another.
func TestSoManyFollowTheMembersAndNoMore(t *testing.T) {
	page := join.New(nil, &toldNetwork{views: make(chan *overlay.View)}, zerolog.Nop()).Pages()["GET /members"]
	taken := make(chan struct{})
	ends := make([]context.CancelFunc, join.MaxWatchers+1)
	var all sync.WaitGroup
	defer all.Wait()
	follow := func(i int) (ended chan struct{}) {
		ctx, cancel := context.WithCancel(t.Context())
		ends[i], ended = cancel, make(chan struct{})
		all.Go(func() {
			defer close(ended)
			page.ServeHTTP(follower{httptest.NewRecorder(), func() { taken <- struct{}{} }}, httptest.NewRequestWithContext(ctx, "GET", "/members", nil))
		})
		<-taken
		return ended
	}
	var first chan struct{}
	for i := range join.MaxWatchers {
		if ended := follow(i); i == 0 {
			first = ended
		}
		defer ends[i]()
	}
	ctx, admitted := context.WithCancel(t.Context())
	defer admitted()
	more := httptest.NewRecorder()
	page.ServeHTTP(follower{more, admitted}, httptest.NewRequestWithContext(ctx, "GET", "/members", nil))
	var said struct{ Error string }
	if err := json.Unmarshal(more.Body.Bytes(), &said); err != nil || more.Code != http.StatusTooManyRequests || said.Error != "64 connections follow the members already" {
		t.Errorf("%d %s", more.Code, more.Body)
	}
	ends[0]()
	<-first
	follow(join.MaxWatchers)
	ends[join.MaxWatchers]()
}

func TestAConnectionFollowsSoManyRoles(t *testing.T) {
	m := newMachine(t)
	watch := func(n int) (code int, body *program) {
		roles := make([]string, n)
		for i := range roles {
			roles[i] = fmt.Sprintf(`"role%d"`, i)
		}
		p := m.ask("POST", "/join/fax_server", `{"watch":[`+strings.Join(roles, ",")+"]}\n")
		return p.code, p
	}
	code, p := watch(join.MaxWatched + 1)
	if b, _ := io.ReadAll(p.lines); code != http.StatusBadRequest || string(b) != `{"error":"33 roles to watch, 32 allowed"}`+"\n" {
		t.Errorf("%d %s", code, b)
	}
	if code, _ := watch(join.MaxWatched); code != http.StatusOK {
		t.Errorf("%d", code)
	}
}

// A certificate may have been renewed without a role that the configuration still has, and
// a program may come when the agent ends.
func TestRefusalsHaveTheStatusesOfTheirReasons(t *testing.T) {
	for err, want := range map[error]int{
		overlay.ErrNotCertified: http.StatusForbidden, nodeagent.ErrEnding: http.StatusServiceUnavailable,
		nodeagent.ErrNoProgramRole: http.StatusNotFound, errors.New("weight 65536"): http.StatusBadRequest,
	} {
		if got := join.StatusOf(fmt.Errorf("role fax_server: %w", err)); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}
