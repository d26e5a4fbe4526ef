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
	p.onThePage(t)
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
