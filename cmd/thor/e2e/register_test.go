//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"thor/nodeagent/secret"
	"thor/subjects"
)

const (
	accounts  = 1000
	perOwner  = 24 // of the sample
	proofNet  = "127.94"
	phonesAre = proofNet + ".40.1"
)

// proof is the network in which accounts are made by SOAP and register by SIP.
type proof struct {
	*network
	soap   *soapClient
	subs   []subscriber
	sample []subscriber // perOwner of each node, half of them entering elsewhere
	sipp   *sipp
	tap    *wiretap
	callee subscriber // node3's, with a phone of its own
	phone  *registrant
}

func address(node string) string { return proofNet + ".20." + strings.TrimPrefix(node, "node") }

// Accounts that SOAP makes can register at once, at the node that serves them,
// through any node, with no database on the way.
func TestSubscribersRegister(t *testing.T) {
	need(t, "mariadbd", "mariadb-server")
	need(t, "kamailio", "kamailio")
	if m, _ := filepath.Glob("/usr/lib*/*/kamailio/modules/http_client.so"); len(m) == 0 {
		need(t, "kamailio module http_client", "kamailio-utils-modules")
	}
	bin := need(t, "sipp", "sip-tester")
	n := startNetwork(t, proofNet)
	p := &proof{network: n, soap: n.soap(t), sipp: &sipp{dir: t.TempDir(), bin: bin, from: phonesAre, port: 15060}}
	p.noDatabaseInKamailio(t)
	p.provision(t)
	p.everywhere(t)
	p.tap = tapLoopback(t)
	p.choose(t)

	t.Log("registering")
	p.sipp.register(t, "the sample, half through others' nodes", p.sample, "401", "200")
	p.flows(t, p.sample)
	p.contacts(t)
	p.online(t, len(p.sample))
	p.called(t)
	p.drained(t)
	p.refusals(t)
	p.changes(t)

	t.Log("without a database")
	p.control(t, "stop", "mariadb")
	p.sipp.register(t, "the sample, from the cache", p.sample, "401", "200")
	p.flowsOf(t, "without a database", 2*len(p.sample))
	p.fault(t)
	p.heirs(t)
	p.recover(t)
	t.Logf("%d REGISTERs of SIPp, all answered as they should", p.sipp.registers)
}

// noDatabaseInKamailio looks at what is configured and what is loaded.
func (p *proof) noDatabaseInKamailio(t *testing.T) {
	t.Helper()
	bad := regexp.MustCompile(`db_[a-z0-9]+\.so|sqlops|libmariadb|libmysql|libpq|db_url|mysql://`)
	for i := 1; i <= 3; i++ {
		name := fmt.Sprintf("node%d-sip", i)
		for _, f := range []string{filepath.Join(p.dir, name, "kamailio.cfg"), fmt.Sprintf("/proc/%d/maps", p.pid(t, name))} {
			b, err := os.ReadFile(f)
			if err != nil || len(b) == 0 {
				t.Fatalf("%s: %v", f, err)
			}
			if m := bad.Find(b); m != nil {
				t.Errorf("%s has %s: Kamailio is to have no database", f, m)
			}
		}
	}
}

// provision adds the accounts, with a few clients at once.
func (p *proof) provision(t *testing.T) {
	t.Helper()
	const clients = 8
	p.soap.must(t, "Sip", "addDomain", "<domain><domain>"+sipDomain+"</domain></domain>")
	p.subs = make([]subscriber, accounts)
	for i := range p.subs {
		p.subs[i] = subscriber{name: fmt.Sprintf("u%d", i), password: fmt.Sprintf("secret-%d", i)}
	}
	began := time.Now()
	var wg sync.WaitGroup
	for k := range clients {
		c := p.network.soap(t)
		wg.Go(func() {
			for i := k; i < accounts; i += clients {
				s := &p.subs[i]
				if _, err := c.call("Sip", "addAccount", account(s.name, sipDomain, "<password>"+s.password+"</password>")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Logf("%6d ms  %d accounts by SOAP", time.Since(began).Milliseconds(), accounts)
}

// everywhere asks every node for every subscriber: the owner answers, the others
// name it.
func (p *proof) everywhere(t *testing.T) {
	t.Helper()
	held := regexp.MustCompile(`(?m)^thor_subscribers_held (\S+)`)
	eventually(t, 10*time.Second, "owners and heirs hold all profiles, before anybody has asked for one", func() bool {
		sum := 0.0
		for i := 1; i <= 3; i++ {
			_, b := get(t, p.HTTP[fmt.Sprintf("node%d", i)]+"/metrics")
			if m := held.FindStringSubmatch(b); m != nil {
				f, _ := strconv.ParseFloat(m[1], 64)
				sum += f
			}
		}
		return sum == 2*accounts
	})
	keys := []string{"lookup", "sip_proxy", "-o", "json"}
	for i := range p.subs {
		keys = append(keys, p.subs[i].key())
	}
	var found []subjects.LookupResult
	if err := json.Unmarshal([]byte(p.run(t, keys...)), &found); err != nil || len(found) != accounts {
		t.Fatalf("lookup: %d, %v", len(found), err)
	}
	began := time.Now()
	for i := range p.subs {
		s := &p.subs[i]
		s.owner = string(found[i].Owner)
		for j := 1; j <= 3; j++ {
			node := fmt.Sprintf("node%d", j)
			status, body := p.onSocket(t, node, "/subscriber/"+s.key()+"/ha1")
			if node == s.owner && (status != 200 || body != md5hex(s.name+":"+sipDomain+":"+s.password)) {
				t.Fatalf("%s at its owner %s: %d", s.key(), node, status)
			}
			if node != s.owner && (status != 421 || body != address(s.owner)) {
				t.Fatalf("%s of %s at %s: %d", s.key(), s.owner, node, status)
			}
		}
	}
	t.Logf("%6d ms  %d questions to all nodes", time.Since(began).Milliseconds(), 3*accounts)
}

// onSocket asks a node on its Unix socket; status 0: it does not answer.
func (n *network) onSocket(t *testing.T, node, path string) (status int, body string) {
	t.Helper()
	status, body, _ = n.header(node, path, "")
	return status, body
}

// header is onSocket, with a header of the answer. The text of status 0 is why.
func (n *network) header(node, path, name string) (status int, body, value string) {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(n.dir, node, "node.sock"))
		}, DisableKeepAlives: true,
	}}
	r, err := c.Get("http://localhost" + path)
	if err != nil {
		return 0, err.Error(), ""
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error(), ""
	}
	return r.StatusCode, string(b), r.Header.Get(name)
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// choose takes the sample: of each node's subscribers, every other one enters at
// another node, at both of them in turn.
func (p *proof) choose(t *testing.T) {
	t.Helper()
	count := make(map[string]int)
	for _, s := range p.subs {
		k := count[s.owner]
		if k == perOwner {
			continue
		}
		count[s.owner]++
		s.entry = address(s.owner)
		if k%2 == 1 {
			s.entry = address(other(s.owner, k/2%2))
		}
		p.sample = append(p.sample, s)
	}
	if len(p.sample) != 3*perOwner {
		t.Fatalf("owners of the sample: %v", count)
	}
}

// other is one of the two nodes besides node.
func other(node string, which int) string {
	all := slices.DeleteFunc([]string{"node1", "node2", "node3"}, func(n string) bool { return n == node })
	return all[which]
}

// flows checks by the wire that each registration went straight to its owner, or
// there in one step.
func (p *proof) flows(t *testing.T, subs []subscriber) {
	t.Helper()
	want := make(map[string]int) // the addresses of a flow, in order
	for _, s := range subs {
		path := s.entry
		if s.entry != address(s.owner) {
			path += " " + address(s.owner)
		}
		want[path]++
	}
	got := make(map[string]int)
	for _, seen := range p.tap.take() {
		var path []string
		for _, a := range seen {
			if !slices.Contains(path, a) {
				path = append(path, a)
			}
		}
		got[strings.Join(path, " ")]++
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("paths on the wire:\n%v\nwant\n%v", got, want)
	}
	t.Logf("paths of %d flows: %v", len(subs), got)
}

// flowsOf checks that no flow since the last time touched more than two nodes.
func (p *proof) flowsOf(t *testing.T, what string, least int) {
	t.Helper()
	nodes := make(map[int]int)
	packets := 0
	for id, seen := range p.tap.take() {
		packets += len(seen)
		k := len(slices.Compact(slices.Sorted(slices.Values(seen))))
		nodes[k]++
		if k > 2 {
			t.Errorf("%s: the flow %s went over %v", what, id, seen)
		}
	}
	if packets < least {
		t.Errorf("%s: %d REGISTERs on the wire, of at least %d", what, packets, least)
	}
	t.Logf("%s: flows by the number of nodes: %v, %d REGISTERs on the wire", what, nodes, packets)
}

// contacts asks every Kamailio whom it holds: the owner alone, with the path
// back through where the subscriber entered.
func (p *proof) contacts(t *testing.T) {
	t.Helper()
	type aor struct {
		AoR      string
		Contacts []struct {
			Contact struct{ Address, Path string }
		}
	}
	where := make(map[string][]string) // "AoR at node" → paths
	for i := 1; i <= 3; i++ {
		node := fmt.Sprintf("node%d", i)
		const body = `{"jsonrpc":"2.0","id":1,"method":"ul.dump"}`
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address(node)+":5062/RPC", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		key, err := secret.Read(filepath.Join(p.dir, node, "local.secret"))
		if err != nil {
			t.Fatal(err)
		}
		proof, _ := key.Sign(secret.RPC, body, time.Now())
		q.Header.Set(secret.Header, proof)
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		var dump struct {
			Result struct {
				Domains []struct {
					Domain struct {
						AoRs []struct{ Info aor }
					}
				}
			}
		}
		err = json.NewDecoder(r.Body).Decode(&dump)
		r.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range dump.Result.Domains {
			for _, a := range d.Domain.AoRs {
				for _, c := range a.Info.Contacts {
					k := a.Info.AoR + " at " + node
					where[k] = append(where[k], c.Contact.Path)
				}
			}
		}
	}
	for _, s := range p.sample {
		k := s.key() + " at " + s.owner
		paths := where[k]
		direct := s.entry == address(s.owner)
		if len(paths) != 1 || !direct && (!strings.Contains(paths[0], s.entry) || strings.Count(paths[0], "<sip:") != 1) || direct && strings.Contains(paths[0], "sip:") {
			t.Errorf("%s, entered at %s: paths %q", k, s.entry, paths)
		}
		delete(where, k)
	}
	if len(where) > 0 {
		t.Errorf("contacts that ought not to be there: %v", where)
	}
}

// online asks by SOAP.
func (p *proof) online(t *testing.T, want int) {
	t.Helper()
	var stats map[string]map[string]map[string]map[string]int
	if err := json.Unmarshal([]byte(p.soap.must(t, "Network", "getStatistics", "")), &stats); err != nil {
		t.Fatal(err)
	}
	sum := stats["summary"]["sip_proxy"]
	if sum["online_accounts"][sipDomain] != want || sum["total_accounts"][sipDomain] != accounts {
		t.Errorf("statistics: %v, want %d online of %d", sum, want, accounts)
	}
	for i := 1; i <= 3; i++ {
		if got := stats[address(fmt.Sprintf("node%d", i))]["sip_proxy"]["online_accounts"][sipDomain]; got != perOwner {
			t.Errorf("node%d has %d online, want %d", i, got, perOwner)
		}
	}
	ids := ""
	for _, s := range p.sample {
		ids += "<item><username>" + s.name + "</username><domain>" + sipDomain + "</domain></item>"
	}
	b, err := p.soap.call("Sip", "getSipDeviceLocations", "<sipIds>"+ids+"</sipIds>")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(b, ">"+phonesAre+"</address>"); got != want {
		t.Errorf("getSipDeviceLocations has %d contacts of SIPp, want %d:\n%.1500s", got, want, b)
	}
}

// called: a message reaches a phone through every node.
func (p *proof) called(t *testing.T) {
	t.Helper()
	i := slices.IndexFunc(p.subs, func(s subscriber) bool {
		return s.owner == "node3" && !slices.ContainsFunc(p.sample, func(x subscriber) bool { return x.name == s.name })
	})
	p.callee, p.phone = p.subs[i], newRegistrant(t, phonesAre)
	p.ring(t, "at its own node")
}

// ring registers the callee's phone through node1 and has every node pass on a message.
func (p *proof) ring(t *testing.T, where string) {
	t.Helper()
	p.callee.entry = address("node1")
	if status := p.phone.register(t, p.callee); status != "200" {
		t.Fatalf("the phone registers: %s", status)
	}
	p.messages(t, where)
}

func (p *proof) messages(t *testing.T, where string) {
	t.Helper()
	to := "sip:" + p.callee.key()
	for i := range 3 {
		entry := address(fmt.Sprintf("node%d", i+1))
		if i == 2 && where == "at its heir" {
			continue // node3 is dead
		}
		got := (&phone{t: t, conn: p.phone.conn}).receive()
		answer := newPhone(t, "caller").request("MESSAGE", to, to, entry+":5060")
		if request := <-got; !strings.HasPrefix(answer, "SIP/2.0 200") || !strings.HasPrefix(request, "MESSAGE ") {
			t.Errorf("a message through %s, the phone registered %s: %.20q, received %.20q", entry, where, answer, request)
		}
	}
	t.Logf("messages arrive at a phone that registered %s", where)
}

// drained: the callee's node drains, and the phone registers again.
func (p *proof) drained(t *testing.T) {
	t.Helper()
	p.run(t, "drain", "node3")
	p.moved(t, func(f subjects.LookupResult) bool { return f.Owner != "node3" && f.Previous == "node3" })
	p.messages(t, "before its node drained")
	p.ring(t, "while its node drains")
	p.run(t, "resume", "node3")
	p.moved(t, func(f subjects.LookupResult) bool { return f.Owner == "node3" })
	p.messages(t, "while its node drained, which serves again")
	p.ring(t, "at its own node again")
	p.tap.take()
}

// moved waits until every node agrees where the callee is.
func (p *proof) moved(t *testing.T, there func(subjects.LookupResult) bool) {
	t.Helper()
	eventually(t, 10*time.Second, "every node knows where the callee is served", func() bool {
		for i := range 3 {
			var f subjects.LookupResult
			_, b := get(t, "http://"+address(fmt.Sprintf("node%d", i+1))+":9501/lookup/sip_proxy/"+p.callee.key())
			if err := json.Unmarshal([]byte(b), &f); err != nil || !there(f) {
				return false
			}
		}
		return true
	})
}

// refusals: a wrong password, and names without an account, at owners and others.
func (p *proof) refusals(t *testing.T) {
	t.Helper()
	wrong := slices.Clone(p.sample)
	for i := range wrong {
		wrong[i].password = "wrong"
	}
	p.sipp.register(t, "a wrong password", wrong, "401", "401")
	var unknown []subscriber
	for i := range 12 {
		unknown = append(unknown, subscriber{name: fmt.Sprintf("nobody%d", i), password: "x", entry: address(fmt.Sprintf("node%d", i%3+1))})
	}
	p.sipp.register(t, "unknown names", unknown, "404", "")
	p.flowsOf(t, "refusals", 2*len(wrong)+len(unknown))
}

// changes of passwords, and deletions, count from the SOAP answer on.
func (p *proof) changes(t *testing.T) {
	t.Helper()
	const changed, deleted = 30, 6
	ph := newRegistrant(t, phonesAre)
	var took []time.Duration
	accepted := 0 // of the old password after the answer
	until := func(s subscriber, refused string) {
		began := time.Now()
		for {
			got := ph.register(t, s)
			if d := time.Since(began); got == refused {
				took = append(took, d)
				return
			} else if got != "200" || d > 5*time.Second {
				t.Fatalf("%s: %s after %s, want %s", s.name, got, d, refused)
			}
			accepted++
		}
	}
	report := func(what string) {
		slices.Sort(took)
		t.Logf("%s refused after the SOAP answer: n %d  median %.1f ms  p99 %.1f ms; accepted meanwhile %d times", what, len(took),
			ms(took[len(took)/2]), ms(took[(len(took)-1)*99/100]), accepted)
		if accepted > 0 {
			t.Errorf("%s accepted %d times after the SOAP answer", what, accepted)
		}
		if took[len(took)-1] > time.Second {
			t.Errorf("%s refused after %s", what, took[len(took)-1])
		}
		took, accepted = nil, 0
	}
	old := slices.Clone(p.sample[:changed])
	for i := range old {
		p.sample[i].password = fmt.Sprintf("newer-%d", i)
		p.soap.must(t, "Sip", "updateAccount", account(old[i].name, sipDomain, "<password>"+p.sample[i].password+"</password>"))
		until(old[i], "401")
	}
	report("old passwords")
	p.sipp.register(t, "old passwords", old, "401", "401")
	p.sipp.register(t, "new passwords", p.sample[:changed], "401", "200")
	gone := p.sample[changed : changed+deleted]
	for _, s := range gone {
		p.soap.must(t, "Sip", "deleteAccount", sipID(s.name, sipDomain))
		until(s, "404")
	}
	report("deleted accounts")
	p.sipp.register(t, "deleted accounts", gone, "404", "")
	p.sample = slices.Delete(p.sample, changed, changed+deleted)
	p.flowsOf(t, "changes", 6*changed)
}

// fault: without its database provisioning says so, in time.
func (p *proof) fault(t *testing.T) {
	t.Helper()
	began := time.Now()
	_, err := p.soap.call("Sip", "addAccount", account("late", sipDomain, "<password>x</password>"))
	took := time.Since(began)
	if err == nil || !strings.Contains(err.Error(), "<errorcode>4</errorcode>") || took > 5*time.Second {
		t.Errorf("addAccount without a database: %v after %s", err, took)
	}
	t.Logf("%6d ms  addAccount gets its fault", took.Milliseconds())
}

// heirs: node3 dies, while no server could tell the heirs of its subscribers.
func (p *proof) heirs(t *testing.T) {
	t.Helper()
	p.kill9(t, "node3")
	p.kill9(t, "node3-sip")
	eventually(t, 15*time.Second, "the dead node has left, every node and Kamailio knows", func() bool {
		if p.status().Member(subjects.SIPProxy, "node3") != nil {
			return false
		}
		for _, node := range []string{"node1", "node2"} {
			for _, s := range p.sample {
				if status, _ := p.onSocket(t, node, "/subscriber/"+s.key()+"/ha1"); status != 200 && status != 421 {
					t.Fatalf("%s at %s: %d", s.key(), node, status)
				} else if _, a := p.onSocket(t, node, "/subscriber/"+s.key()+"/ha1"); a == address("node3") {
					return false
				}
			}
		}
		return true
	})
	theirs := slices.DeleteFunc(slices.Clone(p.sample), func(s subscriber) bool { return s.owner != "node3" })
	for i := range theirs {
		theirs[i].entry = address(fmt.Sprintf("node%d", i%2+1))
	}
	p.sipp.register(t, "the dead node's, at their heirs, without a database", theirs, "401", "200")
	p.flowsOf(t, "at heirs", 2*len(theirs))
	p.ring(t, "at its heir")
}

// recover: the database and the node come back.
func (p *proof) recover(t *testing.T) {
	t.Helper()
	p.control(t, "start", "mariadb", "node3", "node3-sip")
	late := subscriber{name: "late", password: "x", entry: address("node1")}
	eventually(t, 30*time.Second, "an account can be added again", func() bool {
		_, err := p.soap.call("Sip", "addAccount", account(late.name, sipDomain, "<password>x</password>"))
		return err == nil
	})
	eventually(t, 30*time.Second, "the node is back", func() bool {
		m := p.status().Member(subjects.SIPProxy, "node3")
		if m == nil || m.State != subjects.Up {
			return false
		}
		for _, s := range p.sample { // the others may answer for it a little longer
			status, _ := p.onSocket(t, "node3", "/subscriber/"+s.key()+"/ha1")
			if s.owner == "node3" && status != http.StatusOK || status >= 500 {
				return false
			}
		}
		return true
	})
	p.messages(t, "at its heir, while its own node was dead") // which has not heard of it since
	p.sipp.register(t, "all, after everything is back", append(slices.Clone(p.sample), late), "401", "200")
	p.flowsOf(t, "after everything is back", 2*len(p.sample))
}
