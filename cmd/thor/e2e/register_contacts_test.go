//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/nodeagent/secret"
	"thor/subjects"
)

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

// onThePage: an operator's browser is told by TLS where a subscriber is registered, and the
// audit log has who asked.
func (p *proof) onThePage(t *testing.T) {
	t.Helper()
	const ip = proofNet + ".41.1"
	dir := t.TempDir()
	p.run(t, "ca", "issue", "--node", "noc", "--role", "thor_monitor", "--role", "provisioning_server", "--ip", ip, "--out", filepath.Join(dir, "node"))
	port := freePort(t)
	toml := fmt.Sprintf("[network]\ndomain = %q\nbrokers = [\"%s\"]\ncertificate = \"node.crt\"\nkey = \"node.key\"\nca = %q\nstate = \"state\"\n"+
		"[web]\nlisten = \"0.0.0.0:%d\"\nhttp = \"\"\n[log]\naudit = \"audit.log\"\n", p.domain, strings.Join(p.Brokers, `", "`), p.Operator.CA, port) // an address of loopback alone would be without TLS
	if err := os.WriteFile(filepath.Join(dir, "web.toml"), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	spawn(t, dir, thor, "web", "--config", "web.toml")
	client := p.client(t, 10*time.Second)
	for _, s := range p.sample[:2] {
		type device struct{ Node, Address string }
		var got struct{ Devices []device }
		eventually(t, 15*time.Second, "the page tells where "+s.key()+" is registered", func() bool {
			r, err := client.Get(fmt.Sprintf("https://%s:%d/api/registered?role=sip_proxy&key=%s", ip, port, url.QueryEscape(s.key())))
			if err != nil {
				return false
			}
			defer r.Body.Close()
			b, err := io.ReadAll(r.Body)
			return err == nil && r.StatusCode == http.StatusOK && json.Unmarshal(b, &got) == nil
		})
		if len(got.Devices) != 1 || got.Devices[0] != (device{s.owner, phonesAre}) {
			t.Errorf("the page has %s at %+v, it is registered at %s from %s", s.key(), got.Devices, s.owner, phonesAre)
		}
		log, err := os.ReadFile(filepath.Join(dir, "audit.log"))
		if err != nil || !strings.Contains(string(log), `"locations"`) || !strings.Contains(string(log), s.key()) {
			t.Errorf("who asked is not in the audit log: %v\n%s", err, log)
		}
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
