package provisioning

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
)

// describe answers with the WSDL: all of it at /wsdl and /?wsdl, one port's at
// /Sip?wsdl. Some clients cannot keep operations of one name on two ports apart.
func (s *Server) describe(w http.ResponseWriter, r *http.Request) {
	wsdl := s.wsdl.Load()
	if wsdl == nil {
		http.Error(w, "The server is starting.", http.StatusServiceUnavailable)
		return
	}
	last := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	asked := strings.EqualFold(last, "wsdl")
	for _, q := range []string{"wsdl", "WSDL"} {
		asked = asked || r.URL.Query().Has(q)
	}
	name, here := s.portAt(wsdl.base, r.URL.Path)
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	switch {
	case last == "soap-enc.xsd":
		_, _ = w.Write(soap.EncodingSchema)
	case asked && here:
		_, _ = w.Write(wsdl.of[name])
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "This is a SOAP service: POST calls here, or GET /wsdl. Its ports are "+s.portNames()+".\n")
	}
}

// descriptions are the WSDLs at a public URL.
type descriptions struct {
	base []string          // the path of the URL
	of   map[string][]byte // by port, "" is all
}

// portAt is the port whose WSDL is at path below base, "" for all. Other names have
// none: NGNPro has more ports than there are here.
func (s *Server) portAt(base []string, path string) (name string, here bool) {
	at := segments(path)
	if n := len(base); len(at) >= n && slices.Equal(at[:n], base) {
		at = at[n:]
	}
	if n := len(at); n > 0 && strings.EqualFold(at[n-1], "wsdl") {
		at = at[:n-1]
	}
	if len(at) == 0 || len(at) == 1 && strings.EqualFold(at[0], ngnpro.ServiceName) {
		return "", true
	}
	if p := s.portNamed(at[len(at)-1]); p != nil {
		return p.name, true
	}
	return "", false
}

func segments(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// describeAt makes every WSDL once: any client may request them.
func (s *Server) describeAt(public string) {
	d := &descriptions{of: map[string][]byte{"": s.service.WSDL(public, "")}}
	if u, err := url.Parse(public); err == nil { // New has checked it
		d.base = segments(u.Path)
	}
	for _, p := range s.ports {
		d.of[p.name] = s.service.WSDL(public, p.name)
	}
	s.wsdl.Store(d)
}

func (s *Server) portNames() string {
	names := make([]string, len(s.ports))
	for i := range s.ports {
		names[i] = s.ports[i].name
	}
	return strings.Join(names, ", ")
}

func (s *Server) portNamed(name string) *port {
	i := slices.IndexFunc(s.ports, func(p port) bool { return strings.EqualFold(p.name, name) })
	if i < 0 {
		return nil
	}
	return &s.ports[i]
}
