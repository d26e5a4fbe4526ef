package provisioning_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/provisioning"
	"thor/provisioning/login"
	"thor/provisioning/store"
	"thor/subjects"
)

// request is the message of a call as the administrator.
func request(op, params string) string {
	return `<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header>` + authBlock + `</e:Header><e:Body><n:` + op +
		` xmlns:n="urn:AGProjects:NGNPro:Sip">` + params + `</n:` + op + `></e:Body></e:Envelope>`
}

const aliceID = `<sipId><username>alice</username><domain>example.com</domain></sipId>`

func (r *running) post(t testing.TB, body io.Reader) (int, string) {
	t.Helper()
	resp, err := r.client.Post(r.url+"/", "text/xml", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// dial is a bare TLS connection.
func (r *running) dial(t testing.TB, change func(*tls.Config)) (*tls.Conn, error) {
	t.Helper()
	pem, err := os.ReadFile(r.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	cfg := &tls.Config{RootCAs: pool}
	if change != nil {
		change(cfg)
	}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", r.Addr().String(), cfg)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func TestHTTP10ClientThatClosesIsAnswered(t *testing.T) {
	s := start(t, config(t, populated(t)))
	c, err := s.dial(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	body := request("getAccount", aliceID)
	// The client leaves the port out of Host, and the WSDL must not take it from there.
	fmt.Fprintf(c, "POST / HTTP/1.0\r\nUser-Agent: PEAR-SOAP 0.11.0-beta\r\nHost: 127.0.0.1\r\nContent-Type: text/xml; charset=UTF-8\r\n"+
		"Content-Length: %d\r\nSOAPAction: \"\"\r\nConnection: close\r\n\r\n%s", len(body), body)
	b, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.0 200 OK\r\n") || !strings.Contains(string(b), "Alice") {
		t.Fatalf("%v: %s", err, b)
	}
}

func TestOldTLSIsRefusedAndNewIsSpoken(t *testing.T) {
	s := start(t, config(t, populated(t)))
	if _, err := s.dial(t, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if c, err := s.dial(t, func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }); err != nil || c.ConnectionState().Version != v {
			t.Errorf("TLS %x: %v", v, err)
		}
	}
}

func TestMessagesAreBoundedInSize(t *testing.T) {
	s := start(t, config(t, populated(t)))
	fits := request("getAccount", aliceID+"<x>"+strings.Repeat("y", 200<<10)+"</x>")
	if code, _ := s.post(t, strings.NewReader(fits)); code != 200 {
		t.Errorf("200 KiB: %d", code)
	}
	large := request("getAccount", aliceID+"<x>"+strings.Repeat("y", 257<<10)+"</x>")
	if code, b := s.post(t, strings.NewReader(large)); code != 413 || !strings.Contains(b, "Fault") {
		t.Errorf("257 KiB: %d %s", code, b)
	}
	// Without a length it is not known before.
	if code, b := s.post(t, io.MultiReader(strings.NewReader(large))); code != 413 || !strings.Contains(b, "Fault") {
		t.Errorf("257 KiB in chunks: %d %s", code, b)
	}
}

func TestOneHundredThousandAttributesAreRefusedQuickly(t *testing.T) {
	var b strings.Builder
	for i := range 25_000 {
		fmt.Fprintf(&b, ` a%d=""`, i)
	}
	s := start(t, config(t, populated(t)))
	code, body := s.post(t, strings.NewReader(request("getAccount", "<sipId"+b.String()+"/>")))
	if code != 500 || !strings.Contains(body, "attributes") {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := s.post(t, strings.NewReader(request("getAccount", "<sipId"+b.String()+b.String()+"/>"))); code != 413 {
		t.Errorf("a larger one: %d", code)
	}
}

// The deadline is real time here, since it is the socket's; the test waits for
// the answer and not for a clock.
func TestMessageThatNeverEndsIsCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the 5 s of the deadline")
	}
	t.Parallel()
	s := serve(t, config(t, unusedStore(t)))
	c, err := s.dial(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<e:En\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(b), "SOAP-ENV:Client") || !resp.Close {
		t.Errorf("%d %s, close %v", resp.StatusCode, b, resp.Close)
	}
}

func TestOtherMethodsAndPlacesAreToldWhatToDo(t *testing.T) {
	s := start(t, config(t, populated(t)))
	for _, m := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
		req, _ := http.NewRequestWithContext(t.Context(), m, s.url+"/", nil)
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%s: %d, Allow %q", m, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
	resp, err := s.client.Get(s.url + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("GET /: %d", resp.StatusCode)
	}
}

func (r *running) get(t *testing.T, path string) string {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", r.url+path, nil)
	req.Host = "attacker.example"
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/xml") {
		t.Fatalf("GET %s: %d %s", path, resp.StatusCode, b)
	}
	wellFormed(t, string(b))
	return string(b)
}

func TestWSDLDescribesEveryPortAtThePublicURL(t *testing.T) {
	cfg := config(t, populated(t))
	cfg.URL = "https://ngnpro.example.net:9200/"
	s := start(t, cfg)
	whole := s.get(t, "/wsdl")
	for _, same := range []string{"/?wsdl", "/?WSDL", "/ngnpro/wsdl", "/ngnpro/?wsdl", "/ngnpro?wsdl", "/NGNPro/WSDL", "/wsdl?wsdl"} {
		if s.get(t, same) != whole {
			t.Errorf("%s differs from /wsdl", same)
		}
	}
	for _, p := range []string{"Sip", "Voicemail", "Enum", "Dns", "Customer", "Network"} {
		address := `<soap:address location="https://ngnpro.example.net:9200/` + p + `"/>`
		if !strings.Contains(whole, address) || strings.Contains(whole, "attacker") {
			t.Errorf("the WSDL lacks %s, or believes Host", address)
		}
		for _, of := range []string{"/" + p + "?wsdl", "/ngnpro/" + p + "?wsdl", "/" + strings.ToLower(p) + "/?WSDL", "/" + p + "/wsdl"} {
			if one := s.get(t, of); strings.Count(one, "<soap:address") != 1 || !strings.Contains(one, address) {
				t.Errorf("%s is not of this port alone", of)
			}
		}
	}
	if x := s.get(t, "/soap-enc.xsd"); !strings.Contains(x, `targetNamespace="http://schemas.xmlsoap.org/soap/encoding/"`) {
		t.Errorf("soap-enc.xsd: %s", x)
	}
}

// NGNPro has ports that are not here. A client that got the operations of others
// for theirs would call those.
func TestAWSDLOfAPortThatIsNotHereIsNotFound(t *testing.T) {
	cfg := config(t, populated(t))
	cfg.URL = "https://ngnpro.example.net/soap/v1/"
	s := start(t, cfg)
	for _, path := range []string{"/Rating?wsdl", "/Presence?wsdl", "/ngnpro/Rating?wsdl", "/Rating/wsdl", "/rating/?WSDL", "/v2?wsdl", "/Sip/x?wsdl"} {
		resp, err := s.client.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 404 || strings.Contains(string(b), "<definitions") || !strings.Contains(string(b), "Sip, Voicemail") {
			t.Errorf("GET %s: %d %s %v", path, resp.StatusCode, b, err)
		}
	}
	// The path of the public URL is where clients find it, even if a proxy strips it.
	for _, path := range []string{"/soap/v1/wsdl", "/soap/v1/?wsdl", "/soap/v1?wsdl", "/soap/v1/Sip?wsdl", "/soap/v1/soap-enc.xsd"} {
		if b := s.get(t, path); !strings.Contains(b, "xsd:") {
			t.Errorf("GET %s: %s", path, b)
		}
	}
}

// Every message of the WSDL names types that it defines, each once.
func TestWSDLIsComplete(t *testing.T) {
	s := start(t, config(t, populated(t)))
	var w struct {
		Types struct {
			Schema struct {
				Element []struct {
					Name string `xml:"name,attr"`
					Type string `xml:"type,attr"`
				} `xml:"element"`
				Complex []struct {
					Name     string `xml:"name,attr"`
					Sequence struct {
						Element []struct {
							Type string `xml:"type,attr"`
						} `xml:"element"`
					} `xml:"sequence"`
					Item []struct {
						Name string `xml:"name,attr"`
						Type string `xml:"type,attr"`
					} `xml:"complexContent>restriction>sequence>element"`
				} `xml:"complexType"`
			} `xml:"schema"`
		} `xml:"types"`
		Message []struct {
			Name string `xml:"name,attr"`
			Part []struct {
				Type    string `xml:"type,attr"`
				Element string `xml:"element,attr"`
			} `xml:"part"`
		} `xml:"message"`
	}
	if err := xml.Unmarshal([]byte(s.get(t, "/wsdl")), &w); err != nil {
		t.Fatal(err)
	}
	defined := make(map[string]bool)
	for _, c := range w.Types.Schema.Complex {
		if defined["tns:"+c.Name] || c.Name == "" {
			t.Errorf("type %q is defined twice, or has no name", c.Name)
		}
		defined["tns:"+c.Name] = true
	}
	known := func(ty string) bool { return strings.HasPrefix(ty, "xsd:") || defined[ty] }
	for _, c := range w.Types.Schema.Complex {
		for _, e := range c.Sequence.Element {
			if !known(e.Type) {
				t.Errorf("type %s: %s is not defined", c.Name, e.Type)
			}
		}
		if array := strings.HasSuffix(c.Name, "Array"); array != (len(c.Item) == 1) || array && (c.Item[0].Name != "item" || !known(c.Item[0].Type)) {
			t.Errorf("type %s has the items %v", c.Name, c.Item) // zeep writes nothing else
		}
	}
	if es := w.Types.Schema.Element; len(es) != 1 || es[0].Name != "auth" || !known(es[0].Type) {
		t.Errorf("elements %v", es)
	}
	for _, m := range w.Message {
		for _, p := range m.Part {
			if header := m.Name == "auth"; header != (p.Element == "tns:auth") || !header && !known(p.Type) {
				t.Errorf("message %s: %q or element %q is not defined", m.Name, p.Type, p.Element)
			}
		}
	}
	for _, want := range []string{
		"SipId", "SipAccount", "SipDomain", "SipAlias", "AliasQuery", "SipQuery", "SipDomainQuery", "CallDiversions",
		"AcceptRules", "PhonebookEntry", "Range", "StringArray", "SipIdArray", "TrustedPeer", "VoicemailAccount", "EnumRange", "EnumRangeId",
		"EnumNumber", "EnumId", "DnsZone", "DnsZoneQuery", "DnsRecord", "DnsRecordQuery", "MediaTraceFilter", "CustomerAccount", "CustomerQuery", "CustomerPropertyArray",
	} {
		if !defined["tns:"+want] {
			t.Errorf("type %s is not defined", want)
		}
	}
	if len(w.Message) != 2*71+1 {
		t.Errorf("%d messages", len(w.Message))
	}
}

func TestStoreThatFailsIsAServerFaultAndTellsNothing(t *testing.T) {
	populated(t)
	source := newOutage(errors.New("dial tcp 10.0.0.1:3306: secret-host refused"), shared.dsn)
	st, err := store.New(store.Config{Source: source})
	if err != nil {
		t.Fatal(err)
	}
	background(t, st.Run)
	var log buffer
	cfg := config(t, st)
	cfg.Log = zerolog.New(&log)
	registry := prometheus.NewRegistry()
	cfg.Metrics = registry
	s := serve(t, cfg)
	for range 3 {
		code, b := s.post(t, strings.NewReader(request("getAccount", aliceID)))
		if code != 500 || !strings.Contains(b, "<faultcode>SOAP-ENV:Server</faultcode>") || !strings.Contains(b, "<errorcode>4</errorcode>") ||
			strings.Contains(b, "secret-host") {
			t.Errorf("%d %s", code, b)
		}
	}
	source.end()
	<-s.Ready()
	if code, _ := s.post(t, strings.NewReader(request("getAccount", aliceID))); code != 200 {
		t.Errorf("after recovery: %d", code)
	}
	if n := strings.Count(log.String(), "secret-host"); n != 1 {
		t.Errorf("the cause is %d times in the log: %s", n, log.String())
	}
	if !strings.Contains(log.String(), "the store works again") {
		t.Errorf("the recovery is not in the log: %s", log.String())
	}
	results := make(map[string]float64)
	fs, err := registry.Gather()
	for _, f := range fs {
		for _, m := range f.GetMetric() {
			if f.GetName() == "thor_provisioning_calls_total" {
				results[m.GetLabel()[2].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if err != nil || results["ok"] != 1 || results["BackendUnavailable"] != 3 {
		t.Errorf("calls counted: %v, %v", results, err)
	}
}

func TestNoSecretIsLogged(t *testing.T) {
	var log bytes.Buffer
	cfg := config(t, populated(t))
	cfg.Log = zerolog.New(&log).Level(zerolog.DebugLevel)
	s := start(t, cfg)
	s.post(t, strings.NewReader(request("updateAccount", `<account><id><username>alice</username><domain>example.com</domain></id><password>topsecret</password></account>`)))
	s.post(t, strings.NewReader(strings.Replace(request("getAccount", aliceID), "s3cret", "wr0ng", 1)))
	if !strings.Contains(log.String(), "updateAccount") || !strings.Contains(log.String(), "login refused") {
		t.Fatalf("nothing is logged: %s", log.String())
	}
	for _, secret := range []string{"topsecret", "s3cret", "wr0ng"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%s is in the log: %s", secret, log.String())
		}
	}
}

func TestReadyWaitsForTheStore(t *testing.T) {
	populated(t)
	source := newOutage(errors.New("not known yet"), shared.dsn)
	st, err := store.New(store.Config{Source: source})
	if err != nil {
		t.Fatal(err)
	}
	background(t, st.Run)
	s, err := provisioning.New(config(t, st))
	if err != nil {
		t.Fatal(err)
	}
	end := background(t, s.Run)
	awaitAddr(t, s) // it listens already, and refuses by faults
	select {
	case <-s.Ready():
		t.Error("ready without a database")
	default:
	}
	source.end()
	<-s.Ready()
	end()
	if err := s.Run(t.Context()); err == nil {
		t.Error("Run twice")
	}
}

// A slowPusher holds a call until it is let go.
type slowPusher struct {
	entered, leave chan struct{}
	ended          atomic.Bool
}

func (p *slowPusher) Deliver(context.Context, store.Notices) []subjects.NodeID {
	close(p.entered)
	<-p.leave
	p.ended.Store(true)
	return nil
}

func TestCallUnderWayIsAnsweredBeforeTheEnd(t *testing.T) {
	cert, _ := certificate(t)
	cfg := config(t, populated(t))
	slow := &slowPusher{entered: make(chan struct{}), leave: make(chan struct{})}
	cfg.Pusher = slow
	cfg.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }
	s, err := provisioning.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer tr.CloseIdleConnections()
	answered := make(chan error, 1)
	go func() {
		resp, err := (&http.Client{Transport: tr}).Post("https://"+s.Addr().String(), "text/xml", strings.NewReader(request("addToGroup", aliceID+"<group>new</group>")))
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != 200 {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
		}
		answered <- err
	}()
	<-slow.entered
	cancel()
	close(slow.leave)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil || !slow.ended.Load() {
		t.Error(err)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	for name, change := range map[string]func(*provisioning.Config){
		"no store":           func(c *provisioning.Config) { c.Store = nil },
		"no certificate":     func(c *provisioning.Config) { c.Certificate = nil },
		"listen":             func(c *provisioning.Config) { c.Listen = "9200" },
		"url without TLS":    func(c *provisioning.Config) { c.URL = "http://ngnpro.example.net" },
		"url with a user":    func(c *provisioning.Config) { c.URL = "https://a:b@ngnpro.example.net" },
		"admin without a pw": func(c *provisioning.Config) { c.Admins = []login.Admin{{User: "admin"}} },
		"admin with a long pw": func(c *provisioning.Config) {
			c.Admins = []login.Admin{{User: "a", Password: strings.Repeat("x", 200)}}
		},
	} {
		cfg := config(t, unusedStore(t))
		change(&cfg)
		if _, err := provisioning.New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func BenchmarkGetAccount(b *testing.B) {
	s, err := provisioning.New(config(b, populated(b)))
	if err != nil {
		b.Fatal(err)
	}
	body := request("getAccount", aliceID)
	for b.Loop() {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(body)))
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

func TestNoWSDLBeforeTheAddressIsKnown(t *testing.T) {
	w := httptest.NewRecorder()
	newServer(t, unusedStore(t)).ServeHTTP(w, httptest.NewRequest("GET", "/wsdl", nil))
	if w.Code != 503 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
