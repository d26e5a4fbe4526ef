package provisioning

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"thor/provisioning/login"
	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
	"thor/subjects"
)

// An exchange is one call and what log, metrics and audit say of it.
type exchange struct {
	*Server
	from           netip.Addr
	path           string // last part of the URL's
	user, port, op string
	impersonates   bool
	changed        *changed    // of an operation that writes, whatever its outcome
	fault          *soap.Fault // nil: it succeeded
}

// call does what a message asks. Credentials are checked before its body is
// read.
func (x *exchange) call(ctx context.Context, data []byte, charset string) ([]byte, error) {
	m, err := soap.Open(data, charset)
	if err != nil {
		return nil, err
	}
	v, err := x.authenticate(ctx, m)
	if err != nil {
		return nil, err
	}
	e, err := m.Body()
	if err != nil {
		return nil, err
	}
	p, o := x.route(e.Name.Space, e.Name.Local, x.path)
	if o == nil {
		return nil, ngnpro.ErrInvalid.With("there is no such operation: see the WSDL")
	}
	x.port, x.op = p.name, o.Name
	if o.writes {
		x.changed = &changed{by: v}
	}
	args, err := m.Decode(e, o.Params)
	if err != nil {
		return nil, err
	}
	if o.writes {
		x.changed.params, x.changed.args = o.Params, args
	}
	result, err := o.do(&call{Server: x.Server, ctx: ctx, v: v}, args)
	if err != nil {
		return nil, err
	}
	return soap.Response(p.namespace(), ngnpro.Namespace, o.Name, result), nil
}

func (x *exchange) authenticate(ctx context.Context, m *soap.Message) (ngnpro.Viewer, error) {
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
	v, err := x.login.Authenticate(ctx, &a, x.from)
	if errors.Is(err, login.ErrLimited) {
		x.metrics.logins.WithLabelValues("limited").Inc()
	}
	if errors.Is(err, ngnpro.ErrAuthentication) {
		x.metrics.logins.WithLabelValues("wrong").Inc()
		x.log.Info().Str("peer", x.from.String()).Str("user", x.user).Msg("login refused")
	}
	return v, err
}

// route finds an operation: by the namespace of its element, by the path for
// clients that write another one, and by its name where only one port has it.
func (s *Server) route(space, name, path string) (*port, *operation) {
	p := s.portNamed(strings.TrimPrefix(space, ngnpro.Namespace+":"))
	if p == nil {
		p = s.portNamed(path)
	}
	if p != nil {
		return p, p.find(name)
	}
	var o *operation
	for i := range s.ports {
		if found := s.ports[i].find(name); found != nil {
			if o != nil {
				return nil, nil
			}
			p, o = &s.ports[i], found
		}
	}
	return p, o
}
