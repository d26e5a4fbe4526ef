package provisioning

import (
	"context"
	"errors"
	"slices"

	"thor/provisioning/ngnpro"
)

// A lookup reports whether the record that a call names exists for its party. The
// operation has refused the arguments, so they may be as the client wrote them.
type lookup func(c *call, args []any) error

// existing is an operation that changes a record. Clients add a record when they
// learn that it does not exist, so that answer goes before whatever is wrong with
// the rest of the arguments. It costs a call of the store only where the
// arguments are refused.
func existing(exists lookup, o operation) operation {
	do := o.do
	o.do = func(c *call, args []any) (any, error) {
		result, err := do(c, args)
		if isFault(err, ngnpro.ErrInvalid) {
			if missing := exists(c, args); slices.ContainsFunc(notFound, func(f *ngnpro.Fault) bool { return errors.Is(missing, f) }) {
				return nil, missing
			}
		}
		return result, err
	}
	return o
}

var notFound = []*ngnpro.Fault{
	ngnpro.ErrDomainNotFound, ngnpro.ErrAccountNotFound, ngnpro.ErrAliasNotFound, ngnpro.ErrPeerNotFound, ngnpro.ErrEntryNotFound,
	ngnpro.ErrVoicemailNotFound, ngnpro.ErrRangeNotFound, ngnpro.ErrNumberNotFound, ngnpro.ErrCustomerNotFound,
	ngnpro.ErrZoneNotFound, ngnpro.ErrRecordNotFound,
}

// named is the lookup of the record whose key is the first argument.
func named[K, R any](k param[K], get func(context.Context, ngnpro.Viewer, K) (R, error)) lookup {
	return func(c *call, args []any) error { return has(c, k, args[0], get) }
}

// keyed is the lookup of the record that is the first argument.
func keyed[T, K, R any](key func(*T) K, k param[K], get func(context.Context, ngnpro.Viewer, K) (R, error)) lookup {
	return func(c *call, args []any) error {
		x := key(args[0].(*T))
		return has(c, k, &x, get)
	}
}

// has is nil too if the key can be none: then it is what is wrong.
func has[K, R any](c *call, k param[K], decoded any, get func(context.Context, ngnpro.Viewer, K) (R, error)) error {
	if k.clean(decoded) != nil {
		return nil
	}
	_, err := get(c.ctx, c.v, k.take(decoded))
	return err
}
