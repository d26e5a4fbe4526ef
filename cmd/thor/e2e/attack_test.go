//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	crand "crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"thor/broker"
	"thor/identity"
	"thor/subjects"
)

// An attack is what a stolen certificate of one low role does: on a connection
// of its own for each subject it may publish, to each broker, it sends, and
// connects again at once when it is cut off. It runs in a process of its own.
type attack struct {
	Files    identity.Files
	Brokers  []string
	Subjects []string
	Node     string
	Address  string
	Style    attackStyle
}

// An attackStyle is how an attack sends.
type attackStyle string

const (
	fullSpeed attackStyle = "full speed" // small messages, as many as go
	largeSize attackStyle = "large"      // messages as large as their receivers take, as many as go
	justBelow attackStyle = "just below" // a little below the limits
	oneByOne  attackStyle = "one by one" // each message as another process, on a connection of its own
)

const attackEnv = "THOR_E2E_ATTACK" // an attack as JSON: the test binary is its process

// A tally is what an attack has done on one subject.
type tally struct{ dials, ready, messages atomic.Int64 }

// permitted are the subjects that a certificate with one role may publish, from
// the table that brokers enforce, with names that exist for the wildcards.
func permitted(role subjects.Role, node string) (out []string) {
	fill := strings.NewReplacer("<role>", string(role), "<node>", node)
	for line := range strings.Lines(broker.PermissionTable()) {
		f := strings.Split(line, " | ")
		if len(f) < 4 || f[1] != "publish" || f[0] != "| any role" && f[0] != "| any role but thor_monitor" {
			continue
		}
		s := fill.Replace(strings.Trim(f[2], "`"))
		other := "node1"
		switch {
		case strings.Contains(s, string(subjects.Database)):
			other = "database1"
		case strings.Contains(s, string(subjects.ProvisioningServer)):
			other = "provisioning1"
		}
		others := []string{other}
		if s == subjects.AnswersOf(node) {
			others = append(others, "manager1", "manager2", "manager3")
		}
		for _, other := range others {
			out = append(out, strings.NewReplacer("*", other, ">", "node1.x").Replace(s))
		}
	}
	return out
}

// attack starts one with a certificate of media_relay, and returns what ends it
// and tells what it did.
func (n *network) attack(t testing.TB, node, ip string, style attackStyle) (end func() string) {
	t.Helper()
	base := filepath.Join(t.TempDir(), node)
	n.run(t, "ca", "issue", "--node", node, "--role", string(subjects.MediaRelay), "--ip", ip, "--out", base)
	a := attack{
		Files:   identity.Files{Cert: base + ".crt", Key: base + ".key", CA: n.Operator.CA},
		Brokers: n.Brokers, Subjects: permitted(subjects.MediaRelay, node), Node: node, Address: ip, Style: style,
	}
	if len(a.Subjects) < 5 {
		t.Fatalf("the certificate may publish on %q only", a.Subjects)
	}
	conf, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), attackEnv+"="+string(conf))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceValue(func() string { _ = stdin.Close(); _ = cmd.Wait(); return out.String() })
	t.Cleanup(func() { _ = end() })
	return end
}

// runAttack is the attacker's process. It ends with its standard input.
func runAttack(conf string) error {
	var a attack
	if err := json.Unmarshal([]byte(conf), &a); err != nil {
		return err
	}
	creds, err := identity.Load(a.Files)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(1) // it is meant to have a machine of its own
	done := make(chan struct{})
	tallies := make([]tally, len(a.Subjects))
	began := time.Now()
	for i, subject := range a.Subjects {
		for _, b := range a.Brokers {
			u, err := url.Parse(b)
			if err != nil {
				return err
			}
			cfg := creds.ClientTLS()
			cfg.ServerName = u.Hostname()
			go a.flood(subject, u.Host, cfg, &tallies[i], done)
		}
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(done)
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	took := time.Since(began)
	fmt.Printf("%.0f s, %.0f %% of a core\n", took.Seconds(), float64(usage.Utime.Nano()+usage.Stime.Nano())/float64(took)*100)
	for i := range tallies {
		x := &tallies[i]
		fmt.Printf("%-70s %8d connections tried, %6d accepted, %9d messages\n", a.Subjects[i], x.dials.Load(), x.ready.Load(), x.messages.Load())
	}
	return nil
}

// flood is one connection after the other.
func (a *attack) flood(subject, addr string, cfg *tls.Config, x *tally, done chan struct{}) {
	many, pause, size := 500, time.Duration(0), 0
	switch a.Style {
	case justBelow:
		many, pause = a.perSecond(subject)/10, 100*time.Millisecond
	case largeSize:
		size = largest(subject)
		many = max(1, 512<<10/size)
	case oneByOne:
		many = 1
	}
	volley := a.volley(subject, many, size)
	for {
		select {
		case <-done:
			return
		default:
		}
		x.dials.Add(1)
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, cfg)
		if err != nil {
			continue
		}
		boot := crand.Text()
		_, _ = fmt.Fprintf(c, "CONNECT {\"verbose\":false,\"headers\":true,\"name\":%q}\r\nSUB _ANSWER.%s.> 1\r\nSUB thor.status 2\r\nPING\r\n", boot, a.Node)
		if a.Style == oneByOne {
			_, _ = c.Write(bytes.Replace(a.volley(subject, many, size), []byte(noBoot), []byte(boot), 1))
			x.messages.Add(1)
			for s := bufio.NewScanner(c); s.Scan() && s.Text() != "PONG" && !strings.HasPrefix(s.Text(), "-ERR"); {
			}
			x.ready.Add(1)
			_ = c.Close()
			continue
		}
		go func() { // what it is sent is read at full speed too
			for s := bufio.NewScanner(c); s.Scan() && !strings.HasPrefix(s.Text(), "-ERR"); {
				switch s.Text() {
				case "PONG":
					x.ready.Add(1)
				case "PING":
					_, _ = io.WriteString(c, "PONG\r\n")
				}
			}
			_ = c.NetConn().Close() // at once: it was cut, or refused
		}()
		for err == nil {
			if _, err = c.Write(volley); err == nil {
				x.messages.Add(int64(many))
			}
			select {
			case <-done:
				return
			case <-time.After(pause):
			}
		}
		_ = c.Close()
	}
}

// largest is how large a message of a subject may be.
func largest(subject string) int {
	switch {
	case strings.HasPrefix(subject, "_"):
		return 256 << 10
	case strings.Contains(subject, string(subjects.ProvisioningServer)):
		return 64 << 10
	}
	return subjects.MaxAnnouncement
}

// noBoot stands for the boot in what attacks send one by one; crand.Text is as long.
const noBoot = "AAAAAAAAAAAAAAAAAAAAAAAAAA"

// volley is so many messages of at least size bytes, each with a reply subject
// that passes.
func (a *attack) volley(subject string, many, size int) []byte {
	payload, answerer := "{}", "node1"
	if strings.HasPrefix(subject, "thor.role.") {
		payload = fmt.Sprintf(`{"v":1,"role":%q,"node":%q,"addresses":[%q]}`, strings.Split(subject, ".")[2], a.Node, a.Address)
		if a.Style == oneByOne {
			payload = fmt.Sprintf(`{"v":1,"role":%q,"node":%q,"addresses":[%q],"boot":%q,"seq":1}`, strings.Split(subject, ".")[2], a.Node, a.Address, noBoot)
		}
	}
	if s, err := subjects.Answerer(subject); err == nil {
		answerer = s
	}
	if rest := size - len(payload) - len(`,"x":""`); rest > 0 {
		payload = strings.Replace(payload, "}", fmt.Sprintf(`,"x":%q}`, strings.Repeat("y", rest)), 1)
		payload = strings.Replace(payload, "{,", "{", 1)
	}
	return bytes.Repeat(fmt.Appendf(nil, "PUB %s _ANSWER.%s.%s.%s %d\r\n%s\r\n", subject, a.Node, answerer, crand.Text(), len(payload), payload), many)
}

// perSecond is a little less than a broker takes of one connection, and of all
// that share the class of the subject.
func (a *attack) perSecond(subject string) int {
	switch {
	case strings.HasPrefix(subject, "thor.role."), subject == subjects.StatusGet:
		return 40
	case strings.Contains(subject, string(subjects.ProvisioningServer)):
		return 60
	case strings.HasPrefix(subject, "_"):
		return 45
	}
	return 150
}

// One certificate of a low role that sends at full speed all it may, in small
// messages or in large ones, does not keep a dead node in DNS, nor drive a living
// one out.
func TestAttackDoesNotStopTheHealing(t *testing.T) {
	n := startNetwork(t, "127.89", "--damping=false")
	dns := n.resolve(t)
	all := []string{"node1", "node2", "node3"}
	eventually(t, 20*time.Second, "three proxies in both name servers", func() bool { return dns.everywhere(all...) })
	dns.must("node1", "node3")
	for i, style := range []attackStyle{fullSpeed, largeSize} {
		end := n.attack(t, fmt.Sprintf("evil%d", i+1), "127.89.66.6", style)
		for range 2 {
			n.kill9(t, "node2")
			eventually(t, 10*time.Second, "node2 is gone, and nobody else", func() bool { return dns.everywhere("node1", "node3") })
			eventually(t, 10*time.Second, "its process has ended", func() bool { return !n.runs(t, "node2") })
			n.control(t, "start", "node2")
			eventually(t, 30*time.Second, "node2 is back", func() bool { return dns.everywhere(all...) })
		}
		report := end()
		t.Logf("the attacker, %s: %s", style, report)
		if !strings.Contains(report, " messages") || strings.Contains(report, " 0 connections tried") {
			t.Error("the attacker did nothing")
		}
	}
	dns.end()
	if f := dns.failures(); len(f) > 0 {
		t.Errorf("%d faults:\n%s", len(f), strings.Join(f[:min(len(f), 20)], "\n"))
	}
}

// underAttack samples losses while a certificate sends all it may.
func (b *bench) underAttack(node string, style attackStyle) {
	b.t.Helper()
	end := b.network().attack(b.t, node, "127.85.66.6", style)
	defer func() { b.t.Logf("the attacker: %s", end()) }()
	b.losses(b.signal("node2", syscall.SIGKILL), b.start("node2"))
}

// attackBegins samples losses in the first second of an attack by a certificate
// that is not refused yet, each time another one.
func (b *bench) attackBegins() {
	b.t.Helper()
	n, i, end := b.network(), 0, func() string { return "" }
	b.moment = func() {
		i++
		end = n.attack(b.t, fmt.Sprintf("evil%d", i), fmt.Sprintf("127.85.67.%d", i%250+1), fullSpeed)
		<-time.After(rand.N(time.Second))
	}
	defer func() { b.moment = b.anyMoment }()
	again := b.start("node2")
	b.losses(b.signal("node2", syscall.SIGKILL), func() { _ = end(); again() })
}

// revocations samples how long the only member of a role, which died, stays in
// status and DNS after its revocation, the run of thor ca revoke included.
func (b *bench) revocations() {
	b.t.Helper()
	n := b.network()
	for i := range b.n {
		node, ip, role := fmt.Sprintf("dead%d", i+1), fmt.Sprintf("127.85.70.%d", i%250+1), subjects.Role(fmt.Sprintf("test_role%d", i+1))
		host := fmt.Sprintf("test-role%d.%s.", i+1, n.domain)
		p := n.addNode(b.t, node, ip, string(role), fmt.Sprintf("[[node.role]]\nrole = %q\n", role))
		eventually(b.t, 20*time.Second, "DNS has it", func() bool { return n.hasAddress(host, ip) })
		if err := p.Process.Kill(); err != nil {
			b.t.Fatal(err)
		}
		eventually(b.t, 20*time.Second, "it is suspect, and in DNS as the last of its role", func() bool {
			m := n.status().Member(role, subjects.NodeID(node))
			return m != nil && m.State == subjects.Suspect && n.hasAddress(host, ip)
		})
		b.anyMoment()
		began := time.Now()
		n.run(b.t, "ca", "revoke", node)
		eventually(b.t, 60*time.Second, "it is out of status and DNS", func() bool {
			return n.status().Member(role, subjects.NodeID(node)) == nil && n.nowhere(host, ip)
		})
		b.took(time.Since(began))
	}
}

// nowhere reports whether all name servers answer, none of them with address.
func (n *network) nowhere(name, address string) bool {
	return !slices.ContainsFunc(n.DNS, func(server string) bool {
		has, err := answersWith(server, name, address)
		return err != nil || has
	})
}
