package provisioning_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A dialect is a way to write the requests of testdata/http10/operations.txt.
type dialect struct {
	headers  string // of HTTP; %s is host and port
	envelope string // %[1]s the port of the call, %[2]s the operation, %[3]s its parameters, %[4]s user, %[5]s password
	types    bool   // keep types and array types
}

// The namespaces and the line ends of PEAR's SOAP client. What it calls ns4 and
// ns5 are the types and the port.
const pearEnvelope = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\r\n<SOAP-ENV:Envelope  xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\"\r\n" +
	" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"\r\n xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"\r\n" +
	" xmlns:SOAP-ENC=\"http://schemas.xmlsoap.org/soap/encoding/\"\r\n xmlns:ns4=\"urn:AGProjects:NGNPro\"\r\n xmlns:ns5=\"urn:AGProjects:NGNPro:%[1]s\"\r\n" +
	" SOAP-ENV:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\">\r\n<SOAP-ENV:Header>\r\n\r\n<auth{ATTRS}>\r\n" +
	"<username xsi:type=\"xsd:string\">%[4]s</username>\r\n<password xsi:type=\"xsd:string\">%[5]s</password>\r\n<admin xsi:type=\"xsd:boolean\">true</admin>\r\n" +
	"<impersonate xsi:type=\"xsd:int\">0</impersonate></auth>\r\n</SOAP-ENV:Header>\r\n<SOAP-ENV:Body>\r\n\r\n<ns5:%[2]s>%[3]s</ns5:%[2]s>\r\n</SOAP-ENV:Body>\r\n</SOAP-ENV:Envelope>\r\n"

// dialects: what CDRTool sends through curl with PHP 8; what it sends with older
// PHP, which adds attributes to the login, on a socket of its own; and what a
// program writes that has no SOAP library.
var dialects = map[string]dialect{
	"cdrtool": {
		headers:  "Host: %s\r\nUser-Agent: PEAR-SOAP 0.11.0-beta\r\nAccept: */*\r\nContent-Type: text/xml;charset=UTF-8\r\nSOAPAction: \"\"\r\n",
		envelope: strings.Replace(pearEnvelope, "{ATTRS}", "", 1), types: true,
	},
	"older": {
		headers:  "User-Agent: PEAR-SOAP 0.11.0-beta\r\nHost: 127.0.0.1\r\nX-Host: %s\r\nContent-Type: text/xml; charset=UTF-8\r\nSOAPAction: \"\"\r\nConnection: close\r\n",
		envelope: strings.Replace(pearEnvelope, "{ATTRS}", ` SOAP-ENV:actor="0" SOAP-ENV:mustUnderstand="0"`, 1), types: true,
	},
	"hand": {
		headers: "X-Host: %s\r\nContent-Type: text/xml\r\n",
		envelope: `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><auth xmlns="urn:AGProjects:NGNPro"><username>%[4]s</username>` +
			`<password>%[5]s</password></auth></s:Header><s:Body><%[2]s xmlns="urn:AGProjects:NGNPro:%[1]s">%[3]s</%[2]s></s:Body></s:Envelope>`,
	},
}

// A step is one request and what has to be true of the answer.
type step struct {
	port, op string
	params   strings.Builder
	want     []string // lines of the answer; one of those with "|" between
	code     string   // of the fault; "" for none
	keep     []string // the variable to set, and from which element if that is not "id"
}

func steps(t *testing.T) (all []*step) {
	t.Helper()
	b, err := os.ReadFile("testdata/http10/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		l = strings.TrimSuffix(l, "\n")
		kind, rest, _ := strings.Cut(l, " ")
		switch {
		case kind == ">":
			port, op, _ := strings.Cut(rest, ".")
			all = append(all, &step{port: port, op: op})
		case kind == "=":
			all[len(all)-1].want = append(all[len(all)-1].want, rest)
		case kind == "!":
			all[len(all)-1].code = rest
		case kind == "<":
			all[len(all)-1].keep = strings.Fields(rest)
		default:
			all[len(all)-1].params.WriteString("\r\n" + l)
		}
	}
	return all
}

var (
	attribute = regexp.MustCompile(` (xsi:type|SOAP-ENC:\w+)="[^"]*"`)
	errorCode = regexp.MustCompile(`<errorcode>(\d+)<`)
)

// In every dialect the answers are the bytes of testdata/http10/answers.golden.
func TestEveryOperationByHTTP10OverTLS(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(dialects)) {
		t.Run(name, func(t *testing.T) {
			d := dialects[name]
			s := start(t, config(t, emptyStore(t)))
			vars := map[string]string{"$tag": "htag", "$prefix": "7000001", "$ip": "198.51.100.1"}
			done := make(map[string]bool)
			var answers strings.Builder
			for _, st := range steps(t) {
				fmt.Fprintf(&answers, "> %s.%s\n%s", st.port, st.op, undated(st.play(t, s, &d, vars)))
				done[st.port+"."+st.op] = true
			}
			golden(t, "testdata/http10/answers.golden", answers.String())
			if want := operations(t, s); len(done) != want {
				t.Errorf("%d operations of %d", len(done), want)
			}
		})
	}
}

// undated is an answer with one time in the place of all.
func undated(answer string) string {
	return regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d`).ReplaceAllString(answer, "2026-01-01 00:00:00")
}

func (st *step) play(t *testing.T, s *running, d *dialect, vars map[string]string) (answer string) {
	t.Helper()
	fill := func(text string) string {
		for k, v := range vars {
			text = strings.ReplaceAll(text, k, v)
		}
		return text
	}
	params := fill(st.params.String())
	if !d.types {
		params = attribute.ReplaceAllString(params, "")
	}
	body := fmt.Sprintf(d.envelope, st.port, st.op, params, adminUser, strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(adminPassword))
	status, answer := s.post10(t, fmt.Sprintf(d.headers, s.Addr()), body)
	code := ""
	if m := errorCode.FindStringSubmatch(answer); m != nil {
		code = m[1]
	}
	if code != st.code || (status == 200) != (code == "") {
		t.Fatalf("%s.%s: %d, code %q, want %q: %s\n%s", st.port, st.op, status, code, st.code, answer, params)
	}
	for _, w := range st.want {
		if w = fill(w); !slices.ContainsFunc(strings.Split(w, "|"), func(w string) bool { return strings.Contains(answer, w) }) {
			t.Errorf("%s.%s: no %s in %s", st.port, st.op, w, answer)
		}
	}
	if len(st.keep) == 0 {
		return answer
	}
	element := append(st.keep, "id")[1]
	m := regexp.MustCompile("<" + element + "[^>]*>([^<]+)<").FindStringSubmatch(answer)
	if m == nil {
		t.Fatalf("%s.%s: no %s in %s", st.port, st.op, element, answer)
	}
	vars["$"+st.keep[0]] = m[1]
	return answer
}

// post10 sends a message as HTTP/1.0 on a connection of its own, offering that
// alone by ALPN, and reads until the server closes it.
func (r *running) post10(t testing.TB, headers, body string) (int, string) {
	t.Helper()
	c, err := r.offering(t, "http/1.0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "POST / HTTP/1.0\r\n%sContent-Length: %d\r\n\r\n%s", headers, len(body), body); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(all), "HTTP/1.0 ") {
		t.Fatalf("the answer is not HTTP/1.0: %.80s", all)
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(all))), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.TransferEncoding) > 0 || resp.ContentLength != int64(len(b)) {
		t.Errorf("transfer encoding %v, length %d of %d", resp.TransferEncoding, resp.ContentLength, len(b))
	}
	return resp.StatusCode, string(b)
}
