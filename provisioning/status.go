package provisioning

import (
	"maps"
	"slices"

	"thor/provisioning/ngnpro"
	"thor/subjects"
)

// publicRoles are those that customers see.
var publicRoles = []subjects.Role{
	subjects.SIPProxy, subjects.MediaRelay, subjects.ProvisioningServer, "xcap_server", subjects.DNSManager, subjects.Database, "voicemail_server",
}

// networkStatus is the answer of getStatus: nodes by name, each with its
// address, version and roles, and for administrators with what its roles
// announce. Where two roles of a node announce different values under one name,
// those of the database stay under that name and others get the role's before it.
func networkStatus(st *subjects.Status, v ngnpro.Viewer) map[string]map[string]any {
	out := make(map[string]map[string]any)
	if st == nil {
		return out
	}
	roles := st.RoleNames()
	if i := slices.Index(roles, subjects.Database); i > 0 {
		roles = slices.Insert(slices.Delete(roles, i, i+1), 0, subjects.Database)
	}
	for _, role := range roles {
		if !v.Admin && !slices.Contains(publicRoles, role) {
			continue
		}
		for i := range st.Roles[role] {
			m := &st.Roles[role][i]
			e := out[string(m.Node)]
			if e == nil {
				e = map[string]any{"ip": m.Address().String(), "version": m.Version, "roles": []string{}}
				out[string(m.Node)] = e
			}
			e["roles"] = append(e["roles"].([]string), string(role))
			if v.Admin {
				describe(e, role, m)
			}
		}
	}
	for _, e := range out {
		slices.Sort(e["roles"].([]string))
	}
	return out
}

func describe(e map[string]any, role subjects.Role, m *subjects.Member) {
	put := func(name string, value any) {
		if old, ok := e[name]; ok && old != value {
			name = string(role) + "." + name
		}
		e[name] = value
	}
	for _, k := range slices.Sorted(maps.Keys(m.Attrs)) {
		if k != "roles" { // a list here, and nothing a member may say
			put(k, m.Attrs[k])
		}
	}
	if m.Priority != 0 {
		put("priority", m.Priority)
	}
	if m.State != subjects.Up {
		put("state", string(m.State))
		put("reason", m.Reason)
	}
}
