package provisioning

import (
	"slices"

	"thor/provisioning/push"
	"thor/subjects"
)

// sections are counts by domain, by what is counted.
type sections = map[string]map[string]int

// statistics is the answer of getStatistics: by node address and role, and in
// sum under "summary".
func statistics(total map[string]int, nodes []push.NodeStatistics) map[string]map[string]sections {
	sum := sections{"online_accounts": {}, "total_accounts": total}
	out := map[string]map[string]sections{"summary": {string(subjects.SIPProxy): sum}}
	for _, n := range nodes {
		addr, role := n.Address.String(), string(n.Role)
		if out[addr] == nil {
			out[addr] = make(map[string]sections)
		}
		if out[addr][role] == nil {
			out[addr][role] = make(sections)
		}
		for section, byDomain := range n.Sections {
			add(out[addr][role], section, byDomain)
			if n.Role == subjects.SIPProxy {
				add(sum, section, byDomain)
			}
		}
	}
	return out
}

func add(s sections, section string, byDomain map[string]int) {
	if s[section] == nil {
		s[section] = make(map[string]int)
	}
	for d, n := range byDomain {
		s[section][d] += n
	}
}

func only(byDomain map[string]int, seen map[string]bool) map[string]int {
	out := make(map[string]int)
	for d, n := range byDomain {
		if seen[d] {
			out[d] = n
		}
	}
	return out
}

func onlyNodes(nodes []push.NodeStatistics, seen map[string]bool) []push.NodeStatistics {
	out := slices.Clone(nodes)
	for i := range out {
		s := make(sections)
		for section, byDomain := range out[i].Sections {
			s[section] = only(byDomain, seen)
		}
		out[i].Sections = s
	}
	return out
}
