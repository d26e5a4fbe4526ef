package provisioning

import (
	"context"
	"reflect"
	"time"

	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
)

// A call is one operation under way.
type call struct {
	*Server
	ctx context.Context
	v   ngnpro.Viewer
	in  any // points to the decoded element; nil before it is
}

// An operation is its schema, and what it does with the element of a call.
type operation struct {
	soap.Operation
	do func(c *call, m *soap.Message, e *soap.Element) (any, error)
}

// A port is a group of operations.
type port struct {
	name       string
	operations []operation
}

func (p *port) namespace() string { return ngnpro.Namespace + ":" + p.name }

// get is an operation that answers with an R.
func get[I, R any](name string, f func(*call, *I) (R, error)) operation {
	return operation{
		soap.Operation{Name: name, In: reflect.TypeFor[I](), Result: reflect.TypeFor[R]()},
		func(c *call, m *soap.Message, e *soap.Element) (any, error) {
			var in I
			if err := m.Decode(e, &in); err != nil {
				return nil, err
			}
			c.in = &in
			return f(c, &in)
		},
	}
}

// do is an operation without an answer.
func do[I any](name string, f func(*call, *I) error) operation {
	return operation{
		soap.Operation{Name: name, In: reflect.TypeFor[I]()},
		func(c *call, m *soap.Message, e *soap.Element) (any, error) {
			var in I
			if err := m.Decode(e, &in); err != nil {
				return nil, err
			}
			c.in = &in
			return nil, f(c, &in)
		},
	}
}

// change is an operation without an answer that nodes have to hear of.
func change[I any](name string, f func(*call, *I) (Notices, error)) operation {
	return do(name, func(c *call, in *I) error { return c.pushed(f(c, in)) })
}

// deliverTime is how long a change that is made waits for the nodes that serve the
// subscriber: once it is answered they go by it. A node that cannot be reached
// delays the answer and does not change it.
const deliverTime = time.Second

// pushed hands the notices of a change on, which is made if err is nil.
func (c *call) pushed(ns Notices, err error) error {
	if err == nil && len(ns) > 0 && c.cfg.Pusher != nil {
		ctx, cancel := context.WithTimeout(c.ctx, deliverTime)
		defer cancel()
		c.cfg.Pusher.Deliver(ctx, ns)
	}
	return err
}

// ports are all there is.
var ports = []port{
	{"Sip", sipOperations()},
	{"Voicemail", voicemailOperations()},
	{"Enum", enumOperations()},
	{"Customer", customerOperations()},
	{"Network", networkOperations()},
}

// service is what the WSDL describes.
func service() *soap.Service {
	s := &soap.Service{Name: ngnpro.ServiceName, Types: ngnpro.Namespace, Auth: reflect.TypeFor[ngnpro.Auth]()}
	for i := range ports {
		p := soap.Port{Name: ports[i].name, Namespace: ports[i].namespace()}
		for _, o := range ports[i].operations {
			p.Operations = append(p.Operations, o.Operation)
		}
		s.Ports = append(s.Ports, p)
	}
	return s
}

type nothing struct{}

type queryIn[Q any] struct {
	Query Q `soap:"query"`
}

type sipIDIn struct {
	ID ngnpro.SipID `soap:"sipId"`
}
