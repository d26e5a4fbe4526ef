package components

import (
	"fmt"
	"maps"
	"net"

	"thor/cmd/thor/internal/config"
	"thor/identity"
	"thor/nodeagent"
	"thor/nodeagent/control"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// NodeRoles are the roles of the file, with the problems of reading what they
// refer to. id may be nil.
func NodeRoles(f *config.File, id *identity.Identity) (out []nodeagent.RoleConfig, ps config.Problems) {
	out = f.Node.RoleConfigs()
	for i := range out {
		rc := &out[i]
		rc.Addresses = Addresses(id, rc.Addresses)
		if f.Node.Subscribers != nil && rc.Role == subjects.SIPProxy {
			rc.Attrs = with(rc.Attrs, subscriber.Attr, "cached")
		}
		if _, port, err := net.SplitHostPort(f.Node.Control); err == nil && rc.Attrs[control.Attr] == "" {
			rc.Attrs = with(rc.Attrs, control.Attr, port)
		}
		for j, c := range f.Node.Roles[i].Checks {
			var err error
			if rc.Checks[j].Roots, err = Roots(c.CA); err != nil {
				ps = append(ps, f.Problem(fmt.Sprintf("node.role[%d].check[%d].ca", i, j), "%v", err))
			}
		}
	}
	return out, ps
}

// with is attrs with one more.
func with(attrs subjects.Attrs, name, value string) subjects.Attrs {
	out := maps.Clone(attrs)
	if out == nil {
		out = make(subjects.Attrs)
	}
	out[name] = value
	return out
}
