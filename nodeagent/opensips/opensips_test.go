package opensips_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"thor/nodeagent/opensips"
	"thor/nodeagent/opensips/opensipstest"
	"thor/overlay/check"
	"thor/overlay/subscriber"
)

func client(t *testing.T, f *opensipstest.Fake) *opensips.Client {
	t.Helper()
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	c, err := opensips.NewClient(srv.URL + "/mi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Both names of a method are found, and the one that is known is asked for at once later.
func TestBothNamesOfAMethodAreKnown(t *testing.T) {
	for _, newer := range []bool{false, true} {
		f := &opensipstest.Fake{New: newer, Dir: t.TempDir()}
		f.Register("alice@example.net", "[]")
		c := client(t, f)
		for range 2 {
			if n, err := c.Online(t.Context()); err != nil || n["example.net"] != 1 {
				t.Errorf("%v %v", n, err)
			}
		}
		want := []string{"ul_dump", "ul_dump"}
		if newer {
			want = []string{"ul_dump", "usrloc:dump", "usrloc:dump"}
		}
		if got := f.Calls(); !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
	}
}

func TestContactsAreUnderstood(t *testing.T) {
	f := &opensipstest.Fake{}
	f.Register("alice@example.net", `[{"Contact":"sip:alice@192.168.1.7:5070;transport=tcp","ContactID":"1","Expires":60,"Q":"","Callid":"x","Cseq":1,"User-agent":"phone","Received":"sip:203.0.113.5:4711","State":"CS_NEW","Flags":0,"Cflags":"","Socket":"tcp:192.0.2.1:5060","Methods":4294967295},
		{"Contact":"sip:alice@192.168.1.8","Expires":"expired"}]`)
	c := client(t, f)
	got, err := c.Contacts(t.Context(), "alice@example.net")
	want := []subscriber.Contact{{Address: "192.168.1.7", Port: 5070, Transport: "tcp", PublicAddress: "203.0.113.5", PublicPort: 4711, Expires: 60, UserAgent: "phone"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := c.Contacts(t.Context(), "bob@example.net"); len(got) != 0 || err != nil {
		t.Errorf("%+v %v", got, err)
	}
}

func TestDialogsAreCounted(t *testing.T) {
	f := &opensipstest.Fake{}
	f.SetDialogs(7, 2)
	c := client(t, f)
	if n, err := c.Dialogs(t.Context()); n != 9 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if up, err := c.UpSince(t.Context()); up == "" || err != nil {
		t.Errorf("%q %v", up, err)
	}
	f.Refuse(200, `{"jsonrpc":"2.0","result":{},"id":1}`)
	if _, err := c.Dialogs(t.Context()); err == nil || !strings.HasPrefix(check.Explain(err).Text, "opensips counts no dialogs") {
		t.Error(err)
	}
}

// What an OpenSIPS that refuses answers is one clear line.
func TestRefusalsAreOneLine(t *testing.T) {
	f := &opensipstest.Fake{}
	c := client(t, f)
	for _, x := range []struct {
		status       int
		answer, want string
	}{
		{403, "no", "refused with HTTP 403"},
		{500, "", "no answer (HTTP 500)"},
		{200, "<html>", "no valid answer"},
		{200, `{"jsonrpc":"2.0","error":{"code":500,"message":"Internal error"},"id":1}`, "refuses with 500"},
		{200, `{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}`, "opensips does not know ul_dump: load its module"},
		{200, `{"jsonrpc":"2.0","result":[],"id":1}`, "no valid answer"},
	} {
		f.Refuse(x.status, x.answer)
		_, err := c.Online(t.Context())
		if err == nil || check.Explain(err).Text != x.want || strings.Contains(err.Error(), "\n") {
			t.Errorf("%d %q: %v", x.status, x.answer, err)
		}
	}
}

func TestClientWantsAURL(t *testing.T) {
	for _, u := range []string{"", "127.0.0.1:8888", "ftp://127.0.0.1/", "http://user:word@127.0.0.1/mi"} {
		if _, err := opensips.NewClient(u); err == nil || strings.Contains(err.Error(), "word") {
			t.Errorf("%q: %v", u, err)
		}
	}
}
