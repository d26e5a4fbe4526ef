package subjects

// The range of Lookup.Bits.
const (
	MinLookupBits = 10
	MaxLookupBits = 24
)

// A Lookup says how subscribers are spread over the members of a role: in
// 2^Bits slots, by the function of package overlay/lookup. Digest is that of the
// table which the members make, 16 hex digits: whoever computes another one has
// a fault and must not use it. A role without a Lookup has no table.
type Lookup struct {
	Bits   int    `json:"bits"`
	Digest string `json:"digest"`
}

// LookupDiffers is the attribute under which a member says that it computes
// another table than the status names; the value tells roles and digests.
const LookupDiffers = "lookup_differs"

func (l *Lookup) check() error {
	if l.Bits < MinLookupBits || l.Bits > MaxLookupBits {
		return bad(CodeRange, "lookup of 2^%d slots", l.Bits)
	}
	if len(l.Digest) != 16 {
		return bad(CodeText, "lookup digest %q", clip(l.Digest))
	}
	for i := range len(l.Digest) {
		if c := l.Digest[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return bad(CodeText, "lookup digest %q", clip(l.Digest))
		}
	}
	return nil
}

func checkLookups(m map[Role]Lookup) error {
	for r, l := range m {
		if err := checkRoleName(r); err != nil {
			return err
		}
		if err := l.check(); err != nil {
			return err
		}
	}
	return nil
}

// lookupChanges are the lookups of b that differ from a's; nil stands for one
// that is gone.
func lookupChanges(a, b map[Role]Lookup) map[Role]*Lookup {
	var out map[Role]*Lookup
	set := func(r Role, l *Lookup) {
		if out == nil {
			out = make(map[Role]*Lookup)
		}
		out[r] = l
	}
	for r, l := range b {
		if old, ok := a[r]; !ok || old != l {
			set(r, &l)
		}
	}
	for r := range a {
		if _, ok := b[r]; !ok {
			set(r, nil)
		}
	}
	return out
}
