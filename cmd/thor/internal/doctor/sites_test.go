package doctor

import (
	"strings"
	"testing"

	"thor/subjects"
)

func TestTheDoctorSaysWhatASiteCosts(t *testing.T) {
	type at struct {
		role  subjects.Role
		sites string // of its members; "-": none, "+" behind it: it drains
	}
	for name, c := range map[string]struct {
		members []at
		want    []string
	}{
		"without sites": {[]at{{subjects.EventServer, "- - -"}, {"sip_proxy", "- -"}}, nil},
		"all may be lost": {
			[]at{{subjects.EventServer, "ams fra lon"}, {subjects.Manager, "ams fra"}, {"sip_proxy", "fra lon"}},
			[]string{"ok a site may be lost, with a majority of the brokers left and members of each role: ams, fra, lon"},
		},
		"a site with a majority": {
			[]at{{subjects.EventServer, "ams ams fra"}, {"sip_proxy", "ams fra"}},
			[]string{
				"note the loss of site ams: 1 of 3 brokers with JetStream are left, no majority: no manager is elected, and no status changes",
				"ok a site may be lost, with a majority of the brokers left and members of each role: fra",
			},
		},
		"half is no majority": {
			[]at{{subjects.EventServer, "ams ams fra lon"}, {"sip_proxy", "ams fra"}},
			[]string{
				"note the loss of site ams: 2 of 4 brokers with JetStream are left, no majority: no manager is elected, and no status changes",
				"ok a site may be lost, with a majority of the brokers left and members of each role: fra, lon",
			},
		},
		"roles in one site, where those that drain do not serve": {
			[]at{{subjects.EventServer, "ams fra lon"}, {subjects.Manager, "lon lon"}, {subjects.Monitor, "lon"}, {"sip_proxy", "ams fra+"}, {"xcap_server", "lon -"}},
			[]string{
				"note the loss of site ams: nothing is left of sip_proxy",
				"note the loss of site lon: nothing is left of thor_manager",
				"ok a site may be lost, with a majority of the brokers left and members of each role: fra",
			},
		},
	} {
		s := &subjects.Status{Roles: make(map[subjects.Role][]subjects.Member)}
		for _, x := range c.members {
			for i, site := range strings.Fields(x.sites) {
				m := subjects.Member{Node: subjects.NodeID("n" + string(rune('1'+i))), State: subjects.Up, Attrs: subjects.Attrs{subjects.AttrJetStream: "ok"}}
				if strings.HasSuffix(site, "+") {
					m.State = subjects.Draining
				}
				if site != "-" {
					m.Site = subjects.Site(strings.TrimSuffix(site, "+"))
				}
				s.Put(x.role, m)
			}
		}
		s.Put(subjects.EventServer, subjects.Member{Node: "n9", State: subjects.Up}) // carries messages alone
		var got []string
		for _, f := range sites(s) {
			got = append(got, string(f.Level)+" "+f.Text)
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s:\n%s", name, strings.Join(got, "\n"))
		}
	}
}

// What is lost, does not work, or has failed and is kept, is nothing that is left without a site.
func TestWhatDoesNotWorkIsNotLeft(t *testing.T) {
	put := func(s *subjects.Status, role subjects.Role, node subjects.NodeID, site subjects.Site, state subjects.State, js string) {
		m := subjects.Member{Node: node, Site: site, State: state}
		if js != "" {
			m.Attrs = subjects.Attrs{subjects.AttrJetStream: js}
		}
		s.Put(role, m)
	}
	for name, c := range map[string]struct {
		change func(s *subjects.Status)
		want   string
	}{
		"all works":        {func(*subjects.Status) {}, "ok"},
		"JetStream is off": {func(s *subjects.Status) { put(s, subjects.EventServer, "b2", "fra", subjects.Up, "off") }, "the loss of site ams: 1 of 3"},
		"a broker is kept": {func(s *subjects.Status) { put(s, subjects.EventServer, "b2", "fra", subjects.Suspect, "ok") }, "the loss of site ams: 1 of 3"},
		"two brokers are lost": {func(s *subjects.Status) {
			s.Lost = []subjects.Lost{{Node: "b4", Role: subjects.EventServer}, {Node: "b5", Role: subjects.EventServer}}
		}, "the loss of site ams: 2 of 5"},
		"two were lost before": {func(s *subjects.Status) {
			put(s, subjects.EventServer, "b2", "fra", subjects.Up, "off")
			put(s, subjects.EventServer, "b3", "lon", subjects.Up, "off")
			put(s, "xcap_server", "x1", "par", subjects.Up, "")
			put(s, "xcap_server", "x2", "ams", subjects.Up, "")
		}, "the loss of site par: 1 of 3"},
		"the other proxy died": {func(s *subjects.Status) { put(s, "sip_proxy", "p2", "fra", subjects.Suspect, "") }, "the loss of site ams: nothing is left of sip_proxy"},
	} {
		s := &subjects.Status{Roles: make(map[subjects.Role][]subjects.Member)}
		put(s, subjects.EventServer, "b1", "ams", subjects.Up, "ok")
		put(s, subjects.EventServer, "b2", "fra", subjects.Up, "ok")
		put(s, subjects.EventServer, "b3", "lon", subjects.Up, "ok")
		put(s, "sip_proxy", "p1", "ams", subjects.Up, "")
		put(s, "sip_proxy", "p2", "fra", subjects.Up, "")
		c.change(s)
		var said []string
		for _, f := range sites(s) {
			said = append(said, string(f.Level)+" "+f.Text)
		}
		if !strings.Contains(strings.Join(said, "\n"), c.want) {
			t.Errorf("%s: %q", name, said)
		}
	}
}
