package provisioning

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
	"thor/provisioning/store"
)

// A port is a group of operations.
type port struct {
	name       string
	operations []operation
}

// An operation is a row of the table: all that is known of it. The WSDL, the
// dispatcher and the audit log are made of it. What a party may see and change is
// the store's decision.
type operation struct {
	soap.Operation      // its name, its parameters, its result
	writes         bool // it is audited
	do             func(c *call, args []any) (any, error)
}

// A call is an operation under way.
type call struct {
	*Server
	ctx context.Context
	v   ngnpro.Viewer
}

// deliverTime is how long the answer of a change waits for the nodes that hold the
// subscriber: once it is answered they go by it. A node that cannot be reached
// delays the answer and does not change it.
const deliverTime = time.Second

// pushed pushes the notices of a change, which is made if err is nil. It returns
// err.
func (c *call) pushed(ns store.Notices, err error) error {
	if err != nil || len(ns) == 0 || c.cfg.Pusher == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, deliverTime)
	defer cancel()
	c.cfg.Pusher.Deliver(ctx, ns)
	return nil
}

// newPorts is the table of operations. To add an operation, add its row to the
// port's file and its method to the store.
func newPorts(st *store.Store) []port {
	return []port{
		{"Sip", sipOperations(st)},
		{"Voicemail", voicemailOperations(st)},
		{"Enum", enumOperations(st)},
		{"Dns", dnsOperations(st)},
		{"Customer", customerOperations(st)},
		{"Network", networkOperations(st)},
	}
}

func (p *port) namespace() string { return ngnpro.Namespace + ":" + p.name }

func (p *port) find(name string) *operation {
	i := slices.IndexFunc(p.operations, func(o operation) bool { return o.Name == name })
	if i < 0 {
		return nil
	}
	return &p.operations[i]
}

// service is what the WSDL describes.
func service(ports []port) *soap.Service {
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

func isFault(err error, f *ngnpro.Fault) bool { return err != nil && errors.Is(err, f) }
