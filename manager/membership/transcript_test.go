package membership_test

import (
	"bufio"
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

var update = flag.Bool("update", false, "write the transcripts' output anew")

var t0 = time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)

// TestTranscripts plays each file of testdata: commands, each followed by what
// it must print, marked with "> ". Commands:
//
//	config key=value…            dead, grace, departed, max, lost, maxlost; damping=off (first line only)
//	announce NODES ROLE k=v…     one announcement: boot seq via state reason addr prio weight version attr
//	beat NODES ROLE k=v…         the same, and again every=1s
//	stop NODES [ROLE [BOOT]]     no beats any more
//	disconnect NODE k=v…         boot via reason
//	revoke NODE [BOOT]
//	forget NODE [ROLE]           by op1
//	advance D | pause D | deaf D time passes; the manager stands still; it hears nothing
//	blind | save | fresh | adopt save the status, begin with an empty table, adopt the saved status
//	takeup D                     begin to lead from the saved status, which was confirmed D ago
//	given ROLE NODE STATE k=v…   change the saved status: reason since
//	drop ROLE NODE               the same
//	status | losses | guards | duplicates | counts
//
// NODES is n1 or n1..n9. An underscore in a reason stands for a blank.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, want)
			if *update {
				if err := os.WriteFile(f, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs (run with -update and read the diff):\n%s", f, firstDifference(string(got), string(want)))
			}
			if again := play(t, want); !bytes.Equal(got, again) {
				t.Errorf("%s: the same calls gave other bytes", f)
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, g[i], append(w, make([]string, i+1)...)[i])
		}
	}
	return "want has more lines"
}

type player struct {
	t       *testing.T
	cfg     membership.Config
	table   *membership.Table
	now     time.Time
	seqs    map[string]uint64
	beaters []*beater
	saved   *subjects.Status
	out     bytes.Buffer
}

type beater struct {
	node, role string
	args       map[string]string
	every      time.Duration
	next       time.Time
}

func play(t *testing.T, script []byte) []byte {
	p := &player{t: t, now: t0, seqs: map[string]uint64{}, saved: &subjects.Status{V: 1}}
	sc := bufio.NewScanner(bytes.NewReader(script))
	for sc.Scan() {
		line := sc.Text()
		if strings.HasPrefix(line, "> ") {
			continue
		}
		fmt.Fprintln(&p.out, line)
		if f := strings.Fields(line); len(f) > 0 && !strings.HasPrefix(line, "#") {
			p.do(f[0], f[1:])
		}
	}
	return p.out.Bytes()
}

func (p *player) say(format string, args ...any) { fmt.Fprintf(&p.out, "> "+format+"\n", args...) }

func (p *player) do(cmd string, f []string) {
	if cmd == "config" {
		p.configure(options(f))
		return
	}
	if p.table == nil {
		p.table = membership.New(p.cfg)
	}
	switch cmd {
	case "announce", "beat":
		for _, n := range expand(f[0]) {
			p.start(cmd, n, f[1], options(f[2:]))
		}
	case "stop":
		nodes := expand(f[0])
		p.beaters = slices.DeleteFunc(p.beaters, func(b *beater) bool {
			return slices.Contains(nodes, b.node) && (len(f) == 1 || f[1] == b.role) && (len(f) < 3 || f[2] == b.args["boot"])
		})
	case "disconnect":
		o := options(f[1:])
		p.table.Disconnect(membership.Disconnect{
			Node: subjects.NodeID(f[0]), Boot: o["boot"], Via: o["via"], Reason: blanks(o["reason"]),
		}, p.now)
	case "revoke":
		p.table.Revoked(subjects.NodeID(f[0]), append(f, "")[1], "", p.now)
	case "advance", "pause", "deaf":
		d, err := time.ParseDuration(f[0])
		if err != nil {
			p.t.Fatal(err)
		}
		p.pass(cmd, d)
	case "blind":
		p.table.Blind(p.now)
	case "fresh":
		p.table = membership.New(p.cfg)
	case "save":
		p.table.Fill(p.saved)
		p.saved.Time = p.now
	case "forget":
		roles, err := p.table.Forget(subjects.NodeID(f[0]), subjects.Role(append(f, "")[1]), "op1", p.now)
		p.say("forgotten as %v, %v", roles, err)
	case "given":
		p.give(f[0], f[1], f[2], options(f[3:]))
	case "drop":
		p.saved.Remove(subjects.Role(f[0]), subjects.NodeID(f[1]))
	case "hold":
		p.say("%d held", p.table.Hold(subjects.Role(f[0]), p.now))
	case "adopt":
		age := time.Duration(-1)
		if len(f) > 0 {
			var err error
			if age, err = time.ParseDuration(f[0]); err != nil {
				p.t.Fatal(err)
			}
		}
		p.table.AdoptAged(p.saved, age, p.now)
	case "takeup":
		ago, err := time.ParseDuration(f[0])
		if err != nil {
			p.t.Fatal(err)
		}
		p.table.TakeUp(p.saved, -1, p.now.Add(-ago), p.now)
	default:
		p.show(cmd)
	}
	p.events()
}

func (p *player) configure(o map[string]string) {
	for k, v := range o {
		d, _ := time.ParseDuration(v)
		switch k {
		case "dead":
			p.cfg.Dead = d
		case "grace":
			p.cfg.Grace = d
		case "departed":
			p.cfg.DepartedFor = d
		case "max":
			p.cfg.MaxMembers, _ = strconv.Atoi(v)
		case "lost":
			p.cfg.LostFor = d
		case "maxlost":
			p.cfg.MaxLost, _ = strconv.Atoi(v)
		case "damping":
			p.cfg.DisableDamping = v == "off"
		default:
			p.t.Fatalf("config %s", k)
		}
	}
}

func (p *player) give(role, node, state string, o map[string]string) {
	since, _ := time.ParseDuration(o["since"])
	if p.saved.Roles == nil {
		p.saved.Roles = map[subjects.Role][]subjects.Member{}
	}
	p.saved.Put(subjects.Role(role), subjects.Member{
		Node: subjects.NodeID(node), Addresses: []netip.Addr{address(node)}, State: subjects.State(state),
		Reason: blanks(o["reason"]), Weight: subjects.DefaultWeight, Since: t0.Add(since),
	})
}

func (p *player) start(cmd, node, role string, o map[string]string) {
	b := &beater{node: node, role: role, args: o, every: time.Second}
	if o["every"] != "" {
		b.every, _ = time.ParseDuration(o["every"])
	}
	p.announce(b)
	if cmd == "beat" {
		p.beaters = slices.DeleteFunc(p.beaters, func(x *beater) bool {
			return x.node == node && x.role == role && x.args["boot"] == o["boot"]
		})
		b.next = p.now.Add(b.every)
		p.beaters = append(p.beaters, b)
	}
}

func (p *player) announce(b *beater) {
	o := b.args
	a := &subjects.Announcement{
		V: 1, Node: subjects.NodeID(b.node), Role: subjects.Role(b.role), Boot: o["boot"], Via: o["via"],
		State: subjects.State(o["state"]), Reason: blanks(o["reason"]), Version: o["version"], Addresses: []netip.Addr{address(b.node)},
	}
	if o["addr"] != "" {
		a.Addresses = nil
		for s := range strings.SplitSeq(o["addr"], ",") {
			a.Addresses = append(a.Addresses, netip.MustParseAddr(s))
		}
	}
	if o["attr"] != "" {
		k, v, _ := strings.Cut(o["attr"], ":")
		a.Attrs = subjects.Attrs{k: v}
	}
	a.Priority, _ = strconv.Atoi(o["prio"])
	a.Weight, _ = strconv.Atoi(o["weight"])
	if a.Boot != "" {
		k := b.node + "/" + b.role + "/" + a.Boot
		p.seqs[k]++
		a.Seq = p.seqs[k]
	}
	if o["seq"] != "" {
		a.Seq, _ = strconv.ParseUint(o["seq"], 10, 64)
	}
	if err := a.Check(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.table.Announce(a, p.now); err != nil {
		p.say("%s refused %v", p.at(p.now), err)
	}
	p.events()
}

// pass lets d pass: beats are delivered when they are sent, or at the end of a
// pause, or never.
func (p *player) pass(how string, d time.Duration) {
	end := p.now.Add(d)
	for {
		next := end
		for _, b := range p.beaters {
			next = earlier(next, b.next)
		}
		if how != "pause" {
			next = earlier(next, p.table.Next())
		}
		p.now = next
		var due []*beater
		for _, b := range p.beaters {
			if !b.next.After(next) {
				b.next = b.next.Add(b.every)
				due = append(due, b)
			}
		}
		if how == "advance" {
			for _, b := range due {
				p.announce(b)
			}
		}
		done := !next.Before(end)
		if how != "pause" && !p.table.Next().After(next) || done {
			p.table.Advance(next)
			p.events()
		}
		if done {
			return
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (p *player) at(t time.Time) string { return fmt.Sprintf("%.1fs", t.Sub(t0).Seconds()) }

func (p *player) events() {
	for _, e := range p.table.Events() {
		who := strings.TrimSpace(string(e.Role) + " " + string(e.Node))
		p.say("%s %s %s: %s", p.at(e.Time), e.Kind, cmp.Or(who, "-"), e.Detail)
	}
}

func (p *player) show(what string) {
	switch what {
	case "status":
		s := fill(p.t, p.table)
		for _, r := range s.RoleNames() {
			for _, m := range s.Roles[r] {
				p.say("%s %s %s %s since %s%s", r, m.Node, join(m.Addresses), m.State, p.at(m.Since), remarks(&m))
			}
		}
		for _, d := range s.Departed {
			p.say("departed %s %s until %s", d.Node, join(d.Addresses), p.at(d.Until))
		}
	case "losses":
		s := fill(p.t, p.table)
		for _, l := range s.Lost {
			p.say("lost %s %s %s since %s: %s", l.Role, l.Node, join(l.Addresses), p.at(l.Since), l.Reason)
		}
		for _, h := range s.Held {
			p.say("held %s %s until %s: %s", h.Role, h.Node, p.at(h.Until), h.Reason)
		}
	case "guards":
		for _, g := range p.table.Guards() {
			p.say("%s %s since %s: %s", g.Name, cmp.Or(strings.TrimSpace(string(g.Role)+" "+string(g.Node)), "all"), p.at(g.Since), g.Detail)
		}
	case "duplicates":
		for _, d := range p.table.Duplicates() {
			p.say("%s %s %q", d.Role, d.Node, d.Boots)
		}
	case "counts":
		p.say("%+v", p.table.Counts())
	default:
		p.t.Fatalf("unknown command %s", what)
	}
}

func remarks(m *subjects.Member) string {
	var s string
	if m.Reason != "" {
		s += fmt.Sprintf(" %q", m.Reason)
	}
	if m.Priority != 0 {
		s += fmt.Sprintf(" priority=%d", m.Priority)
	}
	if m.Weight != subjects.DefaultWeight {
		s += fmt.Sprintf(" weight=%d", m.Weight)
	}
	if m.Version != "" {
		s += " version=" + m.Version
	}
	for k, v := range m.Attrs {
		s += " " + k + "=" + v
	}
	if m.Plain {
		s += " plain"
	}
	return s
}

func join(as []netip.Addr) string {
	var s []string
	for _, a := range as {
		s = append(s, a.String())
	}
	return strings.Join(s, ",")
}

// fill returns the status of the table, which must keep the rules of the wire.
func fill(t testing.TB, table *membership.Table) *subjects.Status {
	s := &subjects.Status{V: subjects.Version, Domain: "example.net", Epoch: 1, Generation: 1, Manager: "m1", Time: t0}
	table.Fill(s)
	if err := s.Check(); err != nil {
		t.Fatalf("the status breaks the rules: %v\n%s", err, s.Encode())
	}
	return s
}

func options(f []string) map[string]string {
	o := map[string]string{}
	for _, kv := range f {
		k, v, _ := strings.Cut(kv, "=")
		o[k] = v
	}
	return o
}

func blanks(s string) string { return strings.ReplaceAll(s, "_", " ") }

// expand turns n1..n3 into its nodes.
func expand(s string) []string {
	from, to, ok := strings.Cut(s, "..")
	if !ok {
		return []string{s}
	}
	i := strings.IndexAny(from, "0123456789")
	a, _ := strconv.Atoi(from[i:])
	b, _ := strconv.Atoi(to[i:])
	var out []string
	for ; a <= b; a++ {
		out = append(out, from[:i]+strconv.Itoa(a))
	}
	return out
}

// address is 10.0.0.7 for a node whose name ends in 7.
func address(node string) netip.Addr {
	n, _ := strconv.Atoi(strings.TrimLeft(node, "abcdefghijklmnopqrstuvwxyz-"))
	return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
}

func addresses(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}
