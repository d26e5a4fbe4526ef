package nodeagent

import (
	"fmt"
	"slices"

	"thor/identity"
)

// A Problem is one thing wrong with a Config, at its place.
type Problem struct {
	Role  int // index in Config.Roles; -1 is the Config itself
	Check int // index in the role's Checks; -1 is the role itself
	Text  string
}

// Validate lists everything that is wrong with the roles of cfg, in their
// order; nothing if New takes them. id is the certificate that must allow them;
// nil leaves that out. It does no I/O.
func (cfg *Config) Validate(id *identity.Identity) (ps []Problem) {
	if len(cfg.Roles) == 0 {
		return []Problem{{-1, -1, "no roles to announce"}}
	}
	for i := range cfg.Roles {
		rc := &cfg.Roles[i]
		add := func(check int, text string) { ps = append(ps, Problem{i, check, text}) }
		if slices.ContainsFunc(cfg.Roles[:i], func(o RoleConfig) bool { return o.Role == rc.Role }) {
			add(-1, "is there twice")
		}
		if id != nil {
			for _, text := range uncertified(id, rc) {
				add(-1, text)
			}
		}
		for j, cc := range rc.Checks {
			cc = cc.withDefaults()
			for _, text := range cc.faults() {
				add(j, text)
			}
		}
	}
	return ps
}

// text is p as one line of an error.
func (cfg *Config) text(p Problem) error {
	switch {
	case p.Role < 0:
		return fmt.Errorf("nodeagent: %s", p.Text)
	case p.Check < 0:
		return fmt.Errorf("nodeagent: role %s: %s", cfg.Roles[p.Role].Role, p.Text)
	}
	return fmt.Errorf("nodeagent: role %s: check %d: %s", cfg.Roles[p.Role].Role, p.Check+1, p.Text)
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
