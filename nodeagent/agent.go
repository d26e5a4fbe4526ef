package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/identity"
	"thor/overlay"
	"thor/overlay/check"
	"thor/subjects"
)

// network is what the agent needs of an overlay.Node: check.Node is one, and tests of
// time have another.
type network interface {
	check.Network
	Allows(overlay.Member) error
	Drain(subjects.Role) error
	Resume(subjects.Role) error
}

// An Agent announces the roles of a machine. Its methods may be called from any
// goroutine.
//
// Locks are taken in this order: those of the engine, that of programs, mu.
type Agent struct {
	net       network
	log       zerolog.Logger
	engine    *check.Engine
	newProber func(*CheckConfig) (prober, error)
	programs  programs
	run       atomic.Pointer[context.Context] // Run's; nil before

	mu     sync.Mutex
	roles  []*role           // in the order of the configuration; replaced as a whole
	faults map[string]string // of the agent itself, by what fails
}

// New checks cfg, also against the certificate. It does no I/O and starts
// nothing. The error tells all that is wrong, a line for each.
func New(cfg Config) (*Agent, error) {
	if cfg.Overlay == nil {
		return nil, errors.New("nodeagent: no overlay")
	}
	return newAgent(cfg, check.Node{Node: cfg.Overlay}, (*CheckConfig).prober)
}

func newAgent(cfg Config, n network, newProber func(*CheckConfig) (prober, error)) (*Agent, error) {
	a := &Agent{net: n, newProber: newProber}
	a.log = cfg.Log.With().Str("comp", "nodeagent").Str("node", string(n.Identity().Node)).Logger()
	var err error
	if a.engine, err = check.NewEngine(check.Config{Agent: "nodeagent", Network: n, Names: names, Metrics: cfg.Metrics}); err != nil {
		return nil, err
	}
	return a, a.Reconfigure(cfg.Roles)
}

var names = check.Names{
	Check:       "check",
	Probes:      prometheus.CounterOpts{Name: "thor_nodeagent_probes_total", Help: "Probes of local services, by result."},
	Took:        prometheus.GaugeOpts{Name: "thor_nodeagent_probe_seconds", Help: "How long the newest probe took."},
	Up:          prometheus.GaugeOpts{Name: "thor_nodeagent_role_up", Help: "1 while all checks of the role pass, whatever an operator drained."},
	Passing:     prometheus.GaugeOpts{Name: "thor_nodeagent_check_passing", Help: "1 while a check passes, also one that only reports."},
	CheckLabels: []string{"role", "check"},
	GroupLabels: []string{"role"},
}

// check is Validate as one error, a line for each problem.
func (cfg *Config) check(id *identity.Identity) error {
	var errs []error
	for _, p := range cfg.Validate(id) {
		errs = append(errs, cfg.text(p))
	}
	return errors.Join(errs...)
}

// Ready is closed once every role has been announced for the first time, as up
// or as down.
func (a *Agent) Ready() <-chan struct{} { return a.engine.Ready() }

// Run probes and announces until ctx ends. Then it leaves under every role,
// within 2 s, and returns nil. An error is a role that the SDK refuses, as when a
// renewed certificate lacks it. Run may be called once.
func (a *Agent) Run(ctx context.Context) error {
	a.run.Store(&ctx)
	return a.engine.Run(ctx)
}

// ending reports whether Run is about to end, or has.
func (a *Agent) ending() bool {
	ctx := a.run.Load()
	return ctx != nil && (*ctx).Err() != nil
}

// Drain drains every role of this agent as an operator would: they announce
// draining until Resume, restarts included. An error means that the drain is in
// force, but that a restart will forget it.
func (a *Agent) Drain() error { return a.net.Drain(subjects.Agent) }

// Resume ends what Drain began.
func (a *Agent) Resume() error { return a.net.Resume(subjects.Agent) }

// Fault is a failed check of every role, under the name of what fails, until it
// is called again with no text: the agent lacks something of its own, such as the
// port on which programs of the machine ask it. The text becomes the reason in the
// network status; the same fault must have the same one.
func (a *Agent) Fault(name, text string) {
	a.mu.Lock()
	if a.faults[name] == text {
		a.mu.Unlock()
		return
	}
	if a.faults == nil {
		a.faults = make(map[string]string)
	}
	if a.faults[name] = text; text == "" {
		delete(a.faults, name)
	}
	roles := a.roles
	a.mu.Unlock()
	a.log.Info().Str("check", name).Str("reason", text).Msg("check of the agent itself")
	for _, r := range roles {
		_ = r.group.Reconsider() // it tries again with the next result
	}
}

// fault is the first by name, "" if there is none.
func (a *Agent) fault() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.faults) == 0 {
		return ""
	}
	return a.faults[slices.Min(slices.Collect(maps.Keys(a.faults)))]
}

// Has reports whether the agent has a role of that name.
func (a *Agent) Has(name subjects.Role) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.roles, func(r *role) bool { return r.name == name })
}

// Reported says in one line each what checks would do that only report.
func (a *Agent) Reported() (out []string) {
	a.mu.Lock()
	roles := a.roles
	a.mu.Unlock()
	for _, r := range roles {
		for _, why := range r.group.Reported() {
			out = append(out, fmt.Sprintf("%s would be down, but the check only reports: %s", r.name, why))
		}
	}
	return out
}

// Reports is how the checks of the roles stand, in the order of the configuration.
func (a *Agent) Reports() (out []subjects.CheckReport) {
	a.mu.Lock()
	roles := a.roles
	a.mu.Unlock()
	for _, r := range roles {
		out = append(out, r.group.Reports(r.name)...)
	}
	return out
}

// A RoleStatus is how one role of this machine is.
type RoleStatus struct {
	Role subjects.Role
	// State is up, down or draining; empty while the service has not been probed.
	State subjects.State
	// Reason says why it is not up, in one line.
	Reason string
}

// Status is how the roles are announced, in the order of the configuration.
func (a *Agent) Status() []RoleStatus {
	a.mu.Lock()
	roles := a.roles
	a.mu.Unlock()
	out := make([]RoleStatus, 0, len(roles))
	for _, r := range roles {
		state, reason := r.group.Status()
		out = append(out, RoleStatus{r.name, state, reason})
	}
	return out
}
