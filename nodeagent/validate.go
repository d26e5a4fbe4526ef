package nodeagent

import (
	"fmt"
	"slices"

	"thor/identity"
	"thor/overlay/setting"
	"thor/subjects"
)

// A Problem is one thing wrong with a Config, at its place.
type Problem struct {
	Role  int    // index in Config.Roles; -1 is the Config itself
	Check int    // index in the role's Checks; -1 is the role itself
	Key   string // of the role or the check; empty: it as a whole
	Text  string // one line
}

// Validate lists everything that is wrong with the roles of cfg, in their
// order; nothing if New takes them. id is the certificate that must allow them;
// nil leaves that out. It does no I/O.
func (cfg *Config) Validate(id *identity.Identity) (ps []Problem) {
	if len(cfg.Roles) == 0 {
		return []Problem{{-1, -1, "", "announces nothing: add [[node.role]]"}}
	}
	for i := range cfg.Roles {
		rc := &cfg.Roles[i]
		add := func(check int, p setting.Problem) { ps = append(ps, Problem{i, check, p.Key, p.Text}) }
		for _, p := range setting.Check(rc) {
			add(-1, p)
		}
		if slices.ContainsFunc(cfg.Roles[:i], func(o RoleConfig) bool { return o.Role == rc.Role }) {
			add(-1, setting.Problem{Key: "role", Text: fmt.Sprintf("%s is there twice", rc.Role)})
		}
		if _, err := subjects.ParseRole(string(rc.Role)); id != nil && err == nil {
			for _, text := range uncertified(id, rc) {
				add(-1, setting.Problem{Text: text})
			}
		}
		if n := len(rc.Checks) - len(rc.probed()); n > 1 {
			add(-1, setting.Problem{Text: fmt.Sprintf("has %d checks of the kind program: one program joins a role", n)})
		}
		if rc.DrainSignal != "" && !rc.byProgram() {
			add(-1, setting.Problem{Key: "drain_signal", Text: "is for a role that a program joins: add a check of the kind program"})
		}
		for j, cc := range rc.Checks {
			cc = cc.withDefaults()
			for _, p := range cc.faults() {
				add(j, p)
			}
		}
	}
	return ps
}

// text is p as one line of an error.
func (cfg *Config) text(p Problem) error {
	what := setting.Problem{Key: p.Key, Text: p.Text}
	switch {
	case p.Role < 0:
		return fmt.Errorf("nodeagent: %w", what)
	case p.Check < 0:
		return fmt.Errorf("nodeagent: role %s: %w", cfg.Roles[p.Role].Role, what)
	}
	return fmt.Errorf("nodeagent: role %s: check %d: %w", cfg.Roles[p.Role].Role, p.Check+1, what)
}

// uncertified tells in one line each which role or address of rc the certificate
// lacks. The SDK would refuse too, but only once the service has been probed.
func uncertified(id *identity.Identity, rc *RoleConfig) (texts []string) {
	if !id.Has(rc.Role) {
		return []string{fmt.Sprintf("not in the certificate of %s, which holds %v", id.Node, id.Roles)}
	}
	for _, addr := range rc.Addresses {
		if !id.MayUse(addr) {
			texts = append(texts, fmt.Sprintf("address %s is not in the certificate of %s, which holds %v", addr, id.Node, id.Addresses))
		}
	}
	return texts
}
