package kamailio

import (
	"encoding/json"
	"testing"

	"thor/nodeagent/registrar"
	"thor/overlay/subscriber"
)

func TestContactsAreUnderstood(t *testing.T) {
	for in, want := range map[string]*subscriber.Contact{
		`{"Address":"sip:a@192.168.1.7:5070;transport=tcp","Expires":60,"User-Agent":"x\u0007y","Received":"sip:203.0.113.5:4711","Socket":"udp:1.2.3.4:5060"}`: {
			Address: "192.168.1.7", Port: 5070, Transport: "tcp", PublicAddress: "203.0.113.5", PublicPort: 4711, Expires: 60, UserAgent: "x\uFFFDy",
		},
		`{"Address":"sip:[2001:db8::7];ob","Expires":1,"Received":"[not set]","Socket":"UDP:1.2.3.4:5060"}`: {Address: "2001:db8::7", Port: 5060, Transport: "udp", Expires: 1},
		`{"Address":"sips:a@phone.example.net","Expires":1,"Received":"sip:[2001:db8::9]:5;transport=tls"}`: {
			Address: "phone.example.net", Port: 5061, Transport: "tls", PublicAddress: "2001:db8::9", PublicPort: 5, Expires: 1,
		},
		`{"Address":"sip:df7jal23ls0d.invalid;transport=ws","Expires":"permanent","Socket":"tls:1.2.3.4:443"}`: {Address: "df7jal23ls0d.invalid", Port: 5060, Transport: "ws"},
		`{"Address":"sip:a@1.2.3.4","Expires":"expired"}`:                                                      nil,
		`{"Address":"sip:a@1.2.3.4","Expires":-3}`:                                                             nil,
		`{"Address":"tel:+1","Expires":3}`:                                                                     nil,
		`{"Address":"sip:a@1.2.3.4:99999","Expires":3}`:                                                        nil,
		`{}`: nil,
	} {
		var c contact
		if err := json.Unmarshal([]byte(in), &c); err != nil {
			t.Fatal(err)
		}
		got, ok := registrar.Contact(c).Meaning()
		if ok != (want != nil) || ok && got != *want {
			t.Errorf("%s\n got %+v %v\nwant %+v", in, got, ok, want)
		}
	}
}

func TestClientWantsAURL(t *testing.T) {
	for _, u := range []string{"", "127.0.0.1:5060", "ftp://127.0.0.1/", "http://user:word@127.0.0.1/RPC"} {
		if _, err := NewClient(u, nil); err == nil {
			t.Errorf("%q was taken", u)
		}
	}
}
