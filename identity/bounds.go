package identity

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"thor/subjects"
)

// bounds are what a certificate lets its node claim of itself, by role. In the
// subject each is an OU of its own, "sip_proxy:weight:200" or
// "thor_database:priority:5".
type bounds map[subjects.Role]subjects.Bound

const (
	boundWeight   = "weight"
	boundPriority = "priority"
	maxUnit       = 64 // characters of an OU (RFC 5280 A.1, ub-organizational-unit-name); openssl makes no longer one
)

// parse adds the bound that an OU names.
func (b *bounds) parse(s string) error {
	role, rest, _ := strings.Cut(s, ":")
	kind, number, _ := strings.Cut(rest, ":")
	r, err := subjects.ParseRole(role)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBound, show(s), err)
	}
	n, err := strconv.Atoi(number)
	if err != nil || strconv.Itoa(n) != number || n < 1 || n > subjects.MaxWeight {
		return fmt.Errorf("%w: %s: the number is 1 to %d", ErrBound, show(s), subjects.MaxWeight)
	}
	if *b == nil {
		*b = make(bounds)
	}
	have := (*b)[r]
	field := &have.Weight
	switch kind {
	case boundWeight:
	case boundPriority:
		field = &have.Priority
	default:
		return fmt.Errorf("%w: %s: only %s and %s have one", ErrBound, show(s), boundWeight, boundPriority)
	}
	if *field != 0 {
		return fmt.Errorf("%w: %s of %s", ErrDuplicateBound, kind, r)
	}
	*field = n
	(*b)[r] = have
	return nil
}

// check refuses bounds of roles that the certificate does not name.
func (b bounds) check(roles []subjects.Role) error {
	for _, r := range slices.Sorted(maps.Keys(b)) {
		if !slices.Contains(roles, r) {
			return fmt.Errorf("%w: %s", ErrBoundRole, r)
		}
		if err := b[r].Check(); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrBound, r, err)
		}
	}
	for _, s := range b.units() {
		if len(s) > maxUnit {
			return fmt.Errorf("%w: %s is longer than %d characters", ErrBound, show(s), maxUnit)
		}
	}
	return nil
}

// units are the OUs that name b, by role.
func (b bounds) units() []string {
	var out []string
	for _, r := range slices.Sorted(maps.Keys(b)) {
		if w := b[r].Weight; w != 0 {
			out = append(out, fmt.Sprintf("%s:%s:%d", r, boundWeight, w))
		}
		if p := b[r].Priority; p != 0 {
			out = append(out, fmt.Sprintf("%s:%s:%d", r, boundPriority, p))
		}
	}
	return out
}

// BoundText lists the bounds of a certificate as its OUs write them, by role.
func (id *Identity) BoundText() []string { return bounds(id.Bounds).units() }

// Bound is what the certificate lets its node claim under r, defaults filled in.
func (id *Identity) Bound(r subjects.Role) subjects.Bound { return id.Bounds[r].Of(r) }
