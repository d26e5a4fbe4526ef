package local_test

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	client "thor/nodeagent/kamailio"
	"thor/nodeagent/secret"
)

// contacts is of a proxy whose users have a phone each.
const contacts = 20_000

// The list of all registrations of a large proxy, as the agent asks for it: with
// the example configuration, its proof, and Kamailio's memory of Debian.
func TestTwentyThousandContactsPassThroughTheRPC(t *testing.T) {
	file := filepath.Join(openDir(t), "secret")
	k, err := secret.Load(file, -1)
	if err != nil {
		t.Fatal(err)
	}
	startProxy(t, file, "-m", "64", "-M", "8")
	c, err := client.NewClient("http://"+rpcAddr+"/RPC", k)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; { // not in the second in which the proxy started
		if _, err = c.Online(t.Context()); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for i := range contacts {
		add(t, k, i)
	}
	t.Logf("%d contacts added by RPC in %v", contacts, time.Since(began).Round(time.Millisecond))
	for range 3 { // as often as the agent likes
		began = time.Now()
		n, err := c.Online(t.Context())
		if err != nil || n["example.net"] != contacts {
			t.Fatalf("of %d contacts %v: %v", contacts, n, err)
		}
		t.Logf("listed in %v", time.Since(began).Round(time.Millisecond))
	}
	one, err := c.Contacts(t.Context(), fmt.Sprintf("subscriber-%06d@example.net", contacts-1))
	if err != nil || len(one) != 1 || one[0].Port != 5060 {
		t.Errorf("one of them: %+v %v", one, err)
	}
}

// rpc is a client with one connection, as a program would have.
var rpc = http.Client{Timeout: 30 * time.Second}

// add registers a subscriber by ul.add, with a Contact and path of usual length.
func add(t *testing.T, k *secret.Key, i int) {
	t.Helper()
	host := net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)).String()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"ul.add","params":["location","subscriber-%06d@example.net",`+
		`"sip:subscriber-%06d@%s:5060;transport=udp;ob;+sip.instance=f81d4fae-7dec-11d0-a765-00a0c91e6bf6",3600,1.0,"<sip:192.0.2.7;lr;received=sip:203.0.113.9:40000>",0,0,4294967295]}`, i, i, host)
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+rpcAddr+"/RPC", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	proof, _ := k.Sign(secret.RPC, body, time.Now())
	q.Header.Set(secret.Header, proof)
	r, err := rpc.Do(q)
	if err != nil {
		t.Fatalf("contact %d: %v", i, err)
	}
	b := make([]byte, 512)
	n, _ := r.Body.Read(b)
	_ = r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("contact %d: %d %s", i, r.StatusCode, b[:n])
	}
}
