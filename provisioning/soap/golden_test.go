package soap_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
)

var update = flag.Bool("update", false, "write the golden files of testdata instead of comparing with them")

// golden compares with a file of testdata.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got) {
		t.Errorf("%s differs: got\n%s\nwant\n%s", file, got, want)
	}
}

func params(named ...any) (ps []soap.Param) {
	for i := 0; i < len(named); i += 2 {
		ps = append(ps, soap.Param{Name: named[i].(string), Type: reflect.TypeOf(named[i+1])})
	}
	return ps
}

// operations are those of testdata/requests.
var operations = map[string][]soap.Param{
	"Sip.addAccount":            params("account", ngnpro.SipAccount{}),
	"Sip.getAccounts":           params("query", ngnpro.SipQuery{}),
	"Sip.getSipDeviceLocations": params("sipIds", []ngnpro.SipID{}),
	"Sip.setAcceptRules":        params("sipId", ngnpro.SipID{}, "rules", ngnpro.AcceptRules{}),
	"Voicemail.setAnnouncement": params("sipId", ngnpro.SipID{}, "message", []byte{}),
	"Customer.setProperties":    params("customer", 0, "properties", []ngnpro.CustomerProperty{}),
}

// The requests are the bytes that clients sent: PHP's SoapClient by the WSDL with
// types, by the WSDL with the login as a map, and without a WSDL; zeep; and
// CDRTool, with PEAR's SOAP. What is read of each is in the golden file beside it,
// as the codec writes it.
func TestRequestsOfClients(t *testing.T) {
	files, err := filepath.Glob("testdata/requests/*.xml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d requests, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".xml")
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m, err := soap.Open(b, "")
			if err != nil {
				t.Fatal(err)
			}
			var auth ngnpro.Auth
			if len(m.Header) != 1 || m.Header[0].Name.Local != soap.AuthHeader {
				t.Fatalf("header %v", m.Header)
			}
			if err := m.DecodeHeader(m.Header[0], &auth); err != nil || auth.Username != "admin" || auth.Password != "s3cret & <sûre>" ||
				auth.Admin == nil || !*auth.Admin {
				t.Errorf("login %+v, %v", auth, err)
			}
			e, err := m.Body()
			if err != nil {
				t.Fatal(err)
			}
			port := strings.TrimPrefix(e.Name.Space, ngnpro.Namespace+":")
			ps := operations[port+"."+e.Name.Local]
			if !strings.HasPrefix(name, port+"."+e.Name.Local+".") || ps == nil {
				t.Fatalf("the call is %s of %s", e.Name.Local, e.Name.Space)
			}
			args, err := m.Decode(e, ps)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for i, a := range args {
				_, after, _ := strings.Cut(string(soap.Response("urn:port", "urn:types", "op", a)), `<ns1:opResponse xmlns:ns1="urn:port">`)
				value, _, ok := strings.Cut(after, "</ns1:opResponse>")
				if !ok {
					t.Fatalf("no value in %s", after)
				}
				fmt.Fprintf(&got, "%s\n%s\n", ps[i].Name, value)
			}
			golden(t, strings.TrimSuffix(file, ".xml")+".golden", []byte(got.String()))
		})
	}
}

// The answers are the bytes that clients get.
func TestResponses(t *testing.T) {
	for name, result := range map[string]any{
		"none":     nil,
		"nil":      (*ngnpro.SipAccount)(nil),
		"string":   "a <b> & \"c\"\r\n\tд",
		"strings":  []string{"one", "", "two"},
		"empty":    []string{},
		"id":       ngnpro.SipID{Username: "alice", Domain: "example.com"},
		"nested":   ngnpro.SipAccounts{Total: 2, Accounts: []ngnpro.SipAccount{{}, {Groups: &[]string{"a"}, ACL: &[]ngnpro.ACLEntry{{IP: "192.0.2.0", Mask: 24}}}}},
		"record":   full(),
		"absent":   record{},
		"location": []ngnpro.DeviceLocations{{}, {Locations: []ngnpro.DeviceLocation{{Address: "192.0.2.1", Port: 5060}}}},
	} {
		golden(t, "testdata/responses/"+name+".xml", soap.Response("urn:port", "urn:types", "op", result))
	}
	for name, f := range map[string]*soap.Fault{
		"fault":         {Code: soap.Client, Name: "SipAccountNotFound", Number: 1010, Text: "no such <SIP> account"},
		"fault-server":  {Code: soap.Server, Name: "BackendUnavailable", Number: 4, Text: "try again later"},
		"fault-bare":    {Code: soap.MustUnderstand, Name: "MustUnderstand"},
		"fault-version": {Code: soap.VersionMismatch, Name: "VersionMismatch", Text: "SOAP 1.1"},
	} {
		golden(t, "testdata/responses/"+name+".xml", f.Envelope())
	}
}

func TestWSDLOfASmallService(t *testing.T) {
	s := &soap.Service{
		Name: "Small", Types: "urn:types", Auth: reflect.TypeFor[ngnpro.Auth](),
		Ports: []soap.Port{
			{Name: "One", Namespace: "urn:types:One", Operations: []soap.Operation{
				{Name: "setRecord", Params: params("id", "", "record", record{})},
				{Name: "getRecords", Params: params("ids", []string{}), Result: reflect.TypeFor[[]record]()},
			}},
			{Name: "Two", Namespace: "urn:types:Two", Operations: []soap.Operation{{Name: "getNothing"}}},
		},
	}
	golden(t, "testdata/small.wsdl", s.WSDL("https://example.net:9200", ""))
	golden(t, "testdata/two.wsdl", s.WSDL("https://example.net:9200", "Two"))
}
