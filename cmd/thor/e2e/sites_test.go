//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

// Three sites of two nodes. A subscriber's owner and heir stand in one of them; a real change
// reaches both and the remote elsewhere, and when the site is lost, and provisioning with it,
// the remote serves what was pushed.
func TestASubscriberOutlivesItsSite(t *testing.T) {
	need(t, "mariadbd", "mariadb-server")
	n := startNetwork(t, "127.153", "--nodes", "6", "--sites", "ams,fra,lon")
	at := make(map[subjects.NodeID]subjects.Site)
	eventually(t, 20*time.Second, "six proxies in three sites, which keep subscribers", func() bool {
		for _, m := range n.status().Roles[subjects.SIPProxy] {
			if at[m.Node] = m.Site; m.Site == "" || m.Attrs["subscribers"] == "" {
				return false
			}
		}
		return len(at) == 6 && n.status().Lookup[subjects.SIPProxy].RemoteDigest != ""
	})
	keys := make([]string, 200)
	for i := range keys {
		keys[i] = fmt.Sprintf("user%d@%s", i, sipDomain)
	}
	var both *subjects.LookupResult // owner and heir in fra: where neither provisioning nor the database is
	of := make(map[subjects.Site]int)
	found := n.found(t, keys...)
	for i := range found {
		f := &found[i]
		of[at[f.Owner]]++
		if f.Remote == "" || at[f.Remote] == at[f.Owner] || f.RemoteAddress == f.OwnerAddress {
			t.Errorf("%s: owner %s in %s, remote %q in %q", f.Key, f.Owner, at[f.Owner], f.Remote, at[f.Remote])
		}
		if at[f.Heir] != at[f.Owner] && f.Remote != f.Heir {
			t.Errorf("%s: the heir %s is in another site than the owner, and the remote is %s", f.Key, f.Heir, f.Remote)
		}
		if at[f.Owner] == "fra" && at[f.Heir] == "fra" {
			both = f
		}
	}
	if both == nil {
		t.Fatalf("none of %d keys has owner and heir in fra: %v", len(keys), of)
	}
	n.wouldMove(t, at, float64(of["fra"])/float64(len(keys)))

	user, _, _ := strings.Cut(both.Key, "@")
	c := n.soap(t)
	c.must(t, "Sip", "addDomain", "<domain><domain>"+sipDomain+"</domain></domain>")
	c.must(t, "Sip", "addAccount", account(user, sipDomain, "<password>of before</password>"))
	c.must(t, "Sip", "updateAccount", account(user, sipDomain, "<password>of now</password>"))
	n.control(t, "stop", "provisioning1") // what is read from here on was pushed
	holders := []subjects.NodeID{both.Owner, both.Heir, both.Remote}
	want := digest(user, sipDomain, "of now")
	for i, node := range holders {
		use := []string{"", "?for=heir", "?for=heir"}[i]
		if status, text, _ := n.header(string(node), "/subscriber/"+both.Key+"/ha1"+use, ""); status != http.StatusOK || text != want {
			t.Errorf("%s, holder %d, gives %d %q", node, i, status, text)
		}
	}
	for node, site := range at {
		if !slices.Contains(holders, node) {
			if status, text, _ := n.header(string(node), "/subscriber/"+both.Key+"/ha1?for=heir", ""); status == http.StatusOK {
				t.Errorf("%s in %s, which is no holder, gives %q", node, site, text)
			}
		}
	}

	n.freezeSite(t, "fra")
	eventually(t, 60*time.Second, "nothing of fra is left", func() bool { return !slices.Contains(n.status().Places(), "fra") })
	began := time.Now()
	eventually(t, 5*time.Second, "the remote is the owner", func() bool {
		status, text, _ := n.ha1(string(both.Remote), both.Key)
		return status == http.StatusOK && text == want
	})
	t.Logf("%6d ms  fra has left, its subscriber is served in %s", time.Since(began).Milliseconds(), at[both.Remote])
	for _, f := range n.found(t, keys...) {
		i := slices.Index(keys, f.Key)
		was := found[i]
		switch {
		case at[f.Owner] == "fra" || f.Remote == "" || at[f.Remote] == at[f.Owner]:
			t.Errorf("%s: owner %s, remote %s", f.Key, f.Owner, f.Remote)
		case at[was.Owner] != "fra" && f.Owner != was.Owner:
			t.Errorf("%s moved from %s in %s to %s", f.Key, was.Owner, at[was.Owner], f.Owner)
		case at[was.Owner] == "fra" && f.Owner != was.Heir && f.Owner != was.Remote:
			t.Errorf("%s went to %s, which was neither its heir %s nor its remote %s", f.Key, f.Owner, was.Heir, was.Remote)
		}
	}
}

// wouldMove: thor lookup --without-site tells of the loss of fra before it comes.
func (n *network) wouldMove(t *testing.T, at map[subjects.NodeID]subjects.Site, share float64) {
	t.Helper()
	var plan struct {
		Slots, Moved, Held int
		Share              float64
		Moves              []struct{ From, To subjects.NodeID }
	}
	if err := json.Unmarshal([]byte(n.run(t, "lookup", "sip_proxy", "--without-site", "fra", "-o", "json")), &plan); err != nil {
		t.Fatal(err)
	}
	if math.Abs(plan.Share-share) > 0.12 || plan.Moved == 0 || plan.Held != plan.Moved { // of 200 keys: three deviations are 0.1
		t.Errorf("without fra %.2f of the subscribers would move, %.2f of the keys are there; %d of %d slots go to who holds them", plan.Share, share, plan.Held, plan.Moved)
	}
	from := make(map[subjects.NodeID]bool)
	for _, m := range plan.Moves {
		from[m.From] = true
		if at[m.From] != "fra" || at[m.To] == "fra" {
			t.Errorf("%s in %s to %s in %s", m.From, at[m.From], m.To, at[m.To])
		}
	}
	if len(from) != 2 {
		t.Errorf("moves from %v", slices.Collect(maps.Keys(from)))
	}
}
