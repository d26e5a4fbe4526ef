package components

import (
	"fmt"
	"maps"

	"thor/cmd/thor/internal/config"
	"thor/identity"
	"thor/nodeagent"
	"thor/overlay/check"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// NodeRoles are the roles of the file, with the problems of reading what they
// refer to. id may be nil.
func NodeRoles(f *config.File, id *identity.Identity) (out []nodeagent.RoleConfig, ps config.Problems) {
	for i, r := range f.Node.Roles {
		rc := nodeagent.RoleConfig{
			Role: r.Role, Addresses: Addresses(id, r.Addresses), Priority: r.Priority, Weight: r.Weight,
			Version: r.Version, Attrs: r.Attrs,
		}
		if f.Node.Subscribers != nil && rc.Role == subjects.SIPProxy {
			rc.Attrs = keepsSubscribers(rc.Attrs)
		}
		for j, c := range r.Checks {
			roots, err := Roots(c.CA)
			if err != nil {
				ps = append(ps, f.Problem(fmt.Sprintf("node.role[%d].check[%d].ca", i, j), "%v", err))
			}
			rc.Checks = append(rc.Checks, nodeagent.CheckConfig{
				Kind: nodeagent.Kind(c.Kind), Target: c.Target, Transport: c.Transport, Command: c.Command, Expect: c.Expect, Roots: roots,
				Timing: check.Timing{Interval: c.Interval, Timeout: c.Timeout, Rise: c.Rise, Fall: c.Fall},
			})
		}
		out = append(out, rc)
	}
	return out, ps
}

// keepsSubscribers is attrs with what has provisioning tell the node of changes.
func keepsSubscribers(attrs map[string]string) map[string]string {
	out := maps.Clone(attrs)
	if out == nil {
		out = make(map[string]string)
	}
	out[subscriber.Attr] = "cached"
	return out
}
