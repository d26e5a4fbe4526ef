package provisioning

import (
	"context"
	"reflect"

	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
	"thor/provisioning/store"
)

// A param is a parameter of operations: its name on the wire, what brings it into
// the form that is kept, and A, as which the store takes it.
type param[A any] struct {
	soap.Param
	clean func(decoded any) error
	take  func(decoded any) A
}

// record is a parameter that the store takes by its address.
func record[T any](name string, clean func(*T) error) param[*T] {
	return param[*T]{
		Param: soap.Param{Name: name, Type: reflect.TypeFor[T]()},
		clean: func(decoded any) error { return clean(decoded.(*T)) },
		take:  func(decoded any) *T { return decoded.(*T) },
	}
}

// value is a parameter that the store takes by value; a nil clean accepts all.
func value[T any](name string, clean func(*T) error) param[T] {
	return param[T]{
		Param: soap.Param{Name: name, Type: reflect.TypeFor[T]()},
		clean: func(decoded any) error {
			if clean == nil {
				return nil
			}
			return clean(decoded.(*T))
		},
		take: func(decoded any) T { return *decoded.(*T) },
	}
}

// reads is an operation with one parameter that answers with an R.
func reads[A, R any](name string, a param[A], f func(context.Context, ngnpro.Viewer, A) (R, error)) operation {
	return operation{
		Operation: soap.Operation{Name: name, Params: []soap.Param{a.Param}, Result: reflect.TypeFor[R]()},
		do: func(c *call, args []any) (any, error) {
			if err := a.clean(args[0]); err != nil {
				return nil, err
			}
			return f(c.ctx, c.v, a.take(args[0]))
		},
	}
}

// lists is an operation that answers a query with an L, which answer makes of the
// number of all records that match and of those asked for.
func lists[Q any, PQ interface {
	*Q
	Clean() error
}, T, L any](
	name string, find func(context.Context, ngnpro.Viewer, PQ) (int, []T, error), answer func(total int, part []T) L,
) operation {
	return reads(name, record("query", func(q *Q) error { return PQ(q).Clean() }),
		func(ctx context.Context, v ngnpro.Viewer, q *Q) (l L, err error) {
			total, part, err := find(ctx, v, q)
			return answer(total, part), err
		})
}

// changes is an operation with one parameter and no answer. The notices that
// f returns are pushed.
func changes[A any](name string, a param[A], f func(context.Context, ngnpro.Viewer, A) (store.Notices, error)) operation {
	return operation{
		Operation: soap.Operation{Name: name, Params: []soap.Param{a.Param}},
		writes:    true,
		do: func(c *call, args []any) (any, error) {
			if err := a.clean(args[0]); err != nil {
				return nil, err
			}
			ns, err := f(c.ctx, c.v, a.take(args[0]))
			return nil, c.pushed(ns, err)
		},
	}
}

// creates is changes with an answer.
func creates[A, R any](name string, a param[A], f func(context.Context, ngnpro.Viewer, A) (R, store.Notices, error)) operation {
	return operation{
		Operation: soap.Operation{Name: name, Params: []soap.Param{a.Param}, Result: reflect.TypeFor[R]()},
		writes:    true,
		do: func(c *call, args []any) (any, error) {
			if err := a.clean(args[0]); err != nil {
				return nil, err
			}
			r, ns, err := f(c.ctx, c.v, a.take(args[0]))
			return r, c.pushed(ns, err)
		},
	}
}

// sets is changes with two parameters: the key of a record, and what is set in it.
func sets[A, B any](name string, a param[A], b param[B], f func(context.Context, ngnpro.Viewer, A, B) (store.Notices, error)) operation {
	return operation{
		Operation: soap.Operation{Name: name, Params: []soap.Param{a.Param, b.Param}},
		writes:    true,
		do: func(c *call, args []any) (any, error) {
			if err := a.clean(args[0]); err != nil {
				return nil, err
			}
			if err := b.clean(args[1]); err != nil {
				return nil, err
			}
			ns, err := f(c.ctx, c.v, a.take(args[0]), b.take(args[1]))
			return nil, c.pushed(ns, err)
		},
	}
}

// noPush is a method of the store whose change concerns no node.
func noPush[A any](f func(context.Context, ngnpro.Viewer, A) error) func(context.Context, ngnpro.Viewer, A) (store.Notices, error) {
	return func(ctx context.Context, v ngnpro.Viewer, a A) (store.Notices, error) {
		return nil, f(ctx, v, a)
	}
}

// noPush2 is noPush for a method with two parameters.
func noPush2[A, B any](f func(context.Context, ngnpro.Viewer, A, B) error) func(context.Context, ngnpro.Viewer, A, B) (store.Notices, error) {
	return func(ctx context.Context, v ngnpro.Viewer, a A, b B) (store.Notices, error) {
		return nil, f(ctx, v, a, b)
	}
}
