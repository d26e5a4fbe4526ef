package components

import (
	"fmt"
	"maps"

	"thor/cmd/thor/internal/config"
	"thor/identity"
	"thor/nodeagent"
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
			rc.Attrs = keepsSubscribers(rc.Attrs)
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

// keepsSubscribers is attrs with what has provisioning tell the node of changes.
func keepsSubscribers(attrs map[string]string) map[string]string {
	out := maps.Clone(attrs)
	if out == nil {
		out = make(map[string]string)
	}
	out[subscriber.Attr] = "cached"
	return out
}
