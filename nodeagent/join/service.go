package join

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent"
	"thor/nodeagent/local"
	"thor/overlay"
	"thor/subjects"
)

// A Network knows who is there; an *overlay.Node is one.
type Network interface {
	ID() subjects.NodeID
	Boot() string
	View() *overlay.View
	Watch(ctx context.Context) <-chan *overlay.View
	Ask(ctx context.Context, subject string, data []byte) (*subjects.Reply, error)
}

// A Service lets programs join.
type Service struct {
	agent    *nodeagent.Agent
	network  Network
	log      zerolog.Logger
	watchers chan struct{} // one for each connection that follows without joining
	encoded  encoded
	commands commands
}

// maxWatchers is how many connections may follow without joining.
const maxWatchers = 64

// New is for the programs of agent.
func New(agent *nodeagent.Agent, network Network, log zerolog.Logger) *Service {
	return &Service{
		agent: agent, network: network, log: log.With().Str("comp", "join").Logger(), watchers: make(chan struct{}, maxWatchers),
	}
}

// Pages are those of the Unix socket.
func (s *Service) Pages() map[string]http.Handler {
	return map[string]http.Handler{
		"POST /join/{role}":   http.HandlerFunc(s.join),
		"GET /members":        http.HandlerFunc(s.members),
		"GET /members/{role}": http.HandlerFunc(s.members),

		"GET /database/{role}": http.HandlerFunc(s.database),
	}
}

// join is the whole life of a program in a role.
func (s *Service) join(w http.ResponseWriter, r *http.Request) {
	role := subjects.Role(r.PathValue("role"))
	pid := local.PeerPID(r.Context())
	log := s.log.With().Str("role", subjects.Printable(string(role), 64)).Int("pid", pid).Logger()
	refuse := func(status int, err error) {
		log.Info().Err(err).Int("status", status).Msg("program refused")
		local.WriteError(w, r, status, err.Error())
	}
	rc := http.NewResponseController(w)
	if err := rc.EnableFullDuplex(); err != nil {
		refuse(http.StatusHTTPVersionNotSupported, errors.New("needs HTTP/1.1"))
		return
	}
	in := newReader(r.Body, rc)
	var h hello
	if err := in.line(r.Context(), firstLineWithin, &h); err != nil {
		if errors.Is(err, errEnded) {
			err = errors.New(`the body is lines of JSON, and stays open: the first is {} or has "version", "weight", "attrs", "watch"`)
		}
		refuse(http.StatusBadRequest, err)
		return
	}
	if err := checkWatch(h.Watch); err != nil {
		refuse(http.StatusBadRequest, err)
		return
	}
	p, err := s.agent.JoinProgram(role, nodeagent.ProgramInfo{PID: pid, Version: h.Version, Weight: h.Weight, Attrs: h.Attrs})
	if err != nil {
		refuse(statusOf(err), err)
		return
	}
	out := &writer{w: w, rc: rc}
	defer out.end()
	process, err := local.PeerProcess(r.Context())
	if err != nil {
		log.Debug().Err(err).Msg("program cannot be signalled")
	}
	defer process.Close()
	c := &conversation{service: s, role: role, presence: p, watch: h.Watch, control: h.Control, process: process, in: in, out: out, log: log}
	if err := c.run(r.Context()); err != nil {
		log.Info().Err(err).Msg("program cut off")
		_ = out.say(errorLine{err.Error()}) // who is gone needs no reason
	}
}

func statusOf(err error) int {
	var taken *nodeagent.TakenError
	switch {
	case errors.As(err, &taken):
		return http.StatusConflict
	case errors.Is(err, nodeagent.ErrNoProgramRole):
		return http.StatusNotFound
	case errors.Is(err, nodeagent.ErrEnding):
		return http.StatusServiceUnavailable
	case errors.Is(err, overlay.ErrNotCertified):
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}

func checkWatch(roles []subjects.Role) error {
	if len(roles) > MaxWatched {
		return fmt.Errorf("%d roles to watch, %d allowed", len(roles), MaxWatched)
	}
	for i, r := range roles {
		if _, err := subjects.ParseRole(string(r)); err != nil {
			return err
		}
		if slices.Contains(roles[:i], r) {
			return fmt.Errorf("role %s is there twice", r)
		}
	}
	return nil
}

// members tells who is there, and each change, until the reader hangs up.
func (s *Service) members(w http.ResponseWriter, r *http.Request) {
	var roles []subjects.Role
	if name := r.PathValue("role"); name != "" {
		roles = []subjects.Role{subjects.Role(name)}
		if err := checkWatch(roles); err != nil {
			local.WriteError(w, r, http.StatusBadRequest, err.Error())
			return
		}
	}
	select {
	case s.watchers <- struct{}{}:
		defer func() { <-s.watchers }()
	default:
		local.WriteError(w, r, http.StatusTooManyRequests, fmt.Sprintf("%d connections follow the members already", maxWatchers))
		return
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{}) // it sends nothing; net/http sees the end
	w.Header().Set("Content-Type", contentType)
	_ = s.follow(r.Context(), &writer{w: w, rc: rc}, roles) // who hung up needs no reason
}

const contentType = "application/x-ndjson"
