package provisioning

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
	"thor/subjects"
)

// ServeHTTP answers SOAP calls and requests for the WSDL.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.describe(w, r)
	case http.MethodPost:
		s.answer(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		s.refuse(w, &soap.Fault{Code: soap.Client, Name: "MethodNotAllowed", Text: "SOAP calls are POST requests", Status: http.StatusMethodNotAllowed})
	}
}

// describe answers with the WSDL: all of it at /wsdl and /?wsdl, one port's at
// /Sip?wsdl. Some clients cannot keep operations of one name on two ports apart.
func (s *Server) describe(w http.ResponseWriter, r *http.Request) {
	made := s.wsdl.Load()
	if made == nil {
		http.Error(w, "The server is starting.", http.StatusServiceUnavailable)
		return
	}
	last := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	asked := strings.EqualFold(last, "wsdl")
	for _, q := range []string{"wsdl", "WSDL"} {
		asked = asked || r.URL.Query().Has(q)
	}
	name, here := made.named(r.URL.Path)
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	switch {
	case last == "soap-enc.xsd":
		_, _ = w.Write(soap.EncodingSchema)
	case asked && here:
		_, _ = w.Write(made.of[name])
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "This is a SOAP service: POST calls here, or GET /wsdl. Its ports are "+portNames()+".\n")
	}
}

// descriptions are the WSDLs at a public URL.
type descriptions struct {
	base []string          // the path of the URL
	of   map[string][]byte // by port, "" is all
}

// named is the port whose WSDL stands at path, "" for all. A name that is no
// port's has none: NGNPro has more ports than there are here.
func (d *descriptions) named(path string) (name string, here bool) {
	at := segments(path)
	if n := len(d.base); len(at) >= n && slices.Equal(at[:n], d.base) {
		at = at[n:]
	}
	if n := len(at); n > 0 && strings.EqualFold(at[n-1], "wsdl") {
		at = at[:n-1]
	}
	if len(at) == 0 || len(at) == 1 && strings.EqualFold(at[0], ngnpro.ServiceName) {
		return "", true
	}
	if p := portNamed(at[len(at)-1]); p != nil {
		return p.name, true
	}
	return "", false
}

func segments(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// describeAt makes every WSDL once: anybody may ask for them.
func (s *Server) describeAt(public string) {
	d := &descriptions{of: map[string][]byte{"": s.service.WSDL(public, "")}}
	if u, err := url.Parse(public); err == nil { // New has seen it
		d.base = segments(u.Path)
	}
	for _, p := range ports {
		d.of[p.name] = s.service.WSDL(public, p.name)
	}
	s.wsdl.Store(d)
}

func portNames() string {
	names := make([]string, len(ports))
	for i := range ports {
		names[i] = ports[i].name
	}
	return strings.Join(names, ", ")
}

func portNamed(name string) *port {
	i := slices.IndexFunc(ports, func(p port) bool { return strings.EqualFold(p.name, name) })
	if i < 0 {
		return nil
	}
	return &ports[i]
}

// answer reads a call, does it, and writes what came of it.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	data, charset, f := s.receive(w, r)
	if f != nil {
		s.refuse(w, f)
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	x := exchange{Server: s, port: "none", op: "none", from: remote(r), path: r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]}
	out, err := x.call(ctx, data, charset)
	result, status := "ok", http.StatusOK
	if err != nil {
		f := s.asFault(err)
		out, result, status = f.Envelope(), f.Name, f.HTTPStatus()
		x.fault = f
	} else if s.sick.Load() && x.port != "Network" && s.sick.Swap(false) {
		s.log.Info().Msg("the store works again")
	}
	took := time.Since(began)
	s.metrics.call(x.port, x.op, result, took)
	s.log.Debug().Str("peer", x.from.String()).Str("user", x.user).Str("port", x.port).Str("op", x.op).Str("result", result).
		Dur("took_ms", took).Msg("call")
	x.audit()
	send(w, status, out)
}

func send(w http.ResponseWriter, status int, envelope []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/xml; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(envelope)))
	w.WriteHeader(status)
	_, _ = w.Write(envelope) // a client that went away needs no answer
}

// refuse answers what is no call. The rest of such a request is not read.
func (s *Server) refuse(w http.ResponseWriter, f *soap.Fault) {
	s.metrics.refused.WithLabelValues(strconv.Itoa(f.HTTPStatus())).Inc()
	w.Header().Set("Connection", "close")
	send(w, f.HTTPStatus(), f.Envelope())
}

func remote(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr) // a zero address limits all of them together
	return ap.Addr().Unmap()
}

// receive reads the body of a request, within bounds of form, size and time.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) (data []byte, charset string, f *soap.Fault) {
	unsupported := func(text string) *soap.Fault {
		return &soap.Fault{Code: soap.Client, Name: "UnsupportedMediaType", Text: text, Status: http.StatusUnsupportedMediaType}
	}
	tooLarge := &soap.Fault{Code: soap.Client, Name: "MessageTooLarge", Text: "the message is larger than 256 KiB", Status: http.StatusRequestEntityTooLarge}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, "", unsupported("send the message without a content encoding")
	}
	if ct := r.Header.Get("Content-Type"); ct != "" {
		kind, params, err := mime.ParseMediaType(ct)
		if err != nil || !slices.Contains([]string{"text/xml", "application/xml", "application/soap+xml"}, kind) {
			return nil, "", unsupported("send the message as text/xml; charset=utf-8")
		}
		charset = params["charset"]
	}
	if r.ContentLength > soap.MaxMessage {
		return nil, "", tooLarge
	}
	deadline := http.NewResponseController(w).SetReadDeadline
	_ = deadline(time.Now().Add(readTime))       // a test's recorder has none
	defer func() { _ = deadline(time.Time{}) }() // or it ends the call as if the client had gone
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, soap.MaxMessage))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, "", tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, "", &soap.Fault{Code: soap.Client, Name: "RequestTimeout", Text: "the message did not arrive within 5 s", Status: http.StatusRequestTimeout}
	case err != nil:
		return nil, "", &soap.Fault{Code: soap.Client, Name: "MalformedMessage", Text: "the message could not be read", Status: http.StatusBadRequest}
	case len(data) == 0:
		return nil, "", &soap.Fault{Code: soap.Client, Name: "MalformedMessage", Text: "the request has no body", Status: http.StatusBadRequest}
	}
	return data, charset, nil
}

// An exchange is one call and what is known of it for log and metrics.
type exchange struct {
	*Server
	from           netip.Addr
	path           string // last part of the URL's
	user, port, op string
	impersonates   bool
	changed        *call       // an operation that writes, whatever came of it
	fault          *soap.Fault // nil: it is done
}

// call does what a message asks. Credentials are checked before its body is
// looked at.
func (x *exchange) call(ctx context.Context, data []byte, charset string) ([]byte, error) {
	m, err := soap.Open(data, charset)
	if err != nil {
		return nil, err
	}
	v, err := x.who(ctx, m)
	if err != nil {
		return nil, err
	}
	e, err := m.Body()
	if err != nil {
		return nil, err
	}
	p, o := route(e.Name.Space, e.Name.Local, x.path)
	if o == nil {
		return nil, ngnpro.ErrInvalid.With("there is no such operation: see the WSDL")
	}
	x.port, x.op = p.name, o.Name
	c := &call{Server: x.Server, ctx: ctx, v: v}
	if o.writes() {
		x.changed = c
	}
	result, err := o.do(c, m, e)
	if err != nil {
		return nil, err
	}
	return soap.Response(p.namespace(), ngnpro.Namespace, o.Name, result), nil
}

func (x *exchange) who(ctx context.Context, m *soap.Message) (ngnpro.Viewer, error) {
	var a ngnpro.Auth
	for _, h := range m.Header {
		if h.Name.Local != soap.AuthHeader {
			continue
		}
		if err := m.DecodeHeader(h, &a); err != nil {
			return ngnpro.Viewer{}, err
		}
		break
	}
	x.user, x.impersonates = subjects.Printable(a.Username, 64), a.Impersonate != nil && *a.Impersonate != 0
	v, err := x.authenticate(ctx, &a, x.from)
	if isFault(err, ngnpro.ErrAuthentication) {
		x.metrics.logins.WithLabelValues("wrong").Inc()
		x.log.Info().Str("peer", x.from.String()).Str("user", x.user).Msg("login refused")
	}
	return v, err
}

// route finds an operation: by the namespace of its element, by the path for
// clients that write another one, and by its name where only one port has it.
func route(space, name, path string) (*port, *operation) {
	p := portNamed(strings.TrimPrefix(space, ngnpro.Namespace+":"))
	if p == nil {
		p = portNamed(path)
	}
	if p != nil {
		return p, p.find(name)
	}
	var o *operation
	for i := range ports {
		if found := ports[i].find(name); found != nil {
			if o != nil {
				return nil, nil
			}
			p, o = &ports[i], found
		}
	}
	return p, o
}

func (p *port) find(name string) *operation {
	i := slices.IndexFunc(p.operations, func(o operation) bool { return o.Name == name })
	if i < 0 {
		return nil
	}
	return &p.operations[i]
}
