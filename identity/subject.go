package identity

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"thor/subjects"
)

var (
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidLocality     = asn1.ObjectIdentifier{2, 5, 4, 7}
	oidUnit         = asn1.ObjectIdentifier{2, 5, 4, 11}
)

// A name is one attribute of a subject, alone in its RDN.
type name struct {
	oid   asn1.ObjectIdentifier
	value string
}

// attributeSET is a RelativeDistinguishedName; encoding/asn1 knows it for a SET
// by its suffix.
type attributeSET []attribute

type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// parseNames reads a DER RDNSequence (RFC 5280 4.1.2.4) of single-valued RDNs.
// crypto/x509's own reading is no use here: it merges OU=a+OU=b with OU=a,OU=b.
func parseNames(der []byte) ([]name, error) {
	var rdns []attributeSET
	rest, err := asn1.Unmarshal(der, &rdns)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrSubject, err)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes follow it", ErrSubject, len(rest))
	}
	names := make([]name, 0, len(rdns))
	for _, rdn := range rdns {
		if len(rdn) != 1 {
			return nil, fmt.Errorf("%w: %d values in one", ErrMultiValued, len(rdn))
		}
		v, err := text(rdn[0].Value)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", rdn[0].Type, err)
		}
		names = append(names, name{rdn[0].Type, v})
	}
	// encoding/asn1 skips what follows the known fields of a SEQUENCE; what we
	// did not look at must not be there.
	if again, err := asn1.Marshal(rdns); err != nil || !bytes.Equal(again, der) {
		return nil, fmt.Errorf("%w: it holds more than types and values", ErrSubject)
	}
	return names, nil
}

// text accepts the string types that have one reading only: BMPString and
// T61String have more than one.
func text(v asn1.RawValue) (string, error) {
	if v.Class != asn1.ClassUniversal || v.IsCompound {
		return "", fmt.Errorf("%w: a value is not a string", ErrSubject)
	}
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String:
	default:
		return "", fmt.Errorf("%w: string type %d; use UTF8String or PrintableString", ErrSubject, v.Tag)
	}
	var s string
	if _, err := asn1.Unmarshal(v.FullBytes, &s); err != nil { // the alphabet of the type
		return "", fmt.Errorf("%w: %v", ErrSubject, err)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) }); i >= 0 {
		return "", fmt.Errorf("%w: %s", ErrControl, show(s))
	}
	return s, nil
}

// units are what OUs and L of a subject say: roles, bounds of some of them, and the site.
type units struct {
	roles  []subjects.Role // sorted by parseSubject
	bounds bounds
	site   subjects.Site // of the L
}

// parseSubject returns OUs and L of a subject whose O is domain.
func parseSubject(der []byte, domain string) (units, error) {
	names, err := parseNames(der)
	if err != nil {
		return units{}, err
	}
	var orgs []string
	var u units
	for _, n := range names {
		switch {
		case n.oid.Equal(oidOrganization):
			if err := plain("O", n.value); err != nil {
				return units{}, err
			}
			orgs = append(orgs, n.value)
		case n.oid.Equal(oidUnit):
			if err := u.add(n.value); err != nil {
				return units{}, err
			}
		case n.oid.Equal(oidLocality):
			if err := u.locate(n.value); err != nil {
				return units{}, err
			}
		case n.oid.Equal(oidCommonName):
			if err := ascii("CN", n.value); err != nil {
				return units{}, err
			}
		}
	}
	switch {
	case len(orgs) == 0:
		return units{}, ErrNoOrganization
	case len(orgs) > 1:
		return units{}, fmt.Errorf("%w: there are %d", ErrManyOrganizations, len(orgs))
	case orgs[0] != domain:
		return units{}, fmt.Errorf("%w: O is %s, the URI says %s", ErrOrganization, show(orgs[0]), domain)
	case len(u.roles) == 0:
		return units{}, ErrNoRole
	}
	if err := u.bounds.check(u.roles); err != nil {
		return units{}, err
	}
	slices.Sort(u.roles)
	return u, nil
}

// locate takes the L.
func (u *units) locate(s string) error {
	site, err := subjects.ParseSite(s)
	switch {
	case err == nil && s == "":
		return fmt.Errorf("%w: it is empty", ErrSite)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrSite, err)
	case u.site != "":
		return fmt.Errorf("%w: %s and %s", ErrManySites, u.site, site)
	}
	u.site = site
	return nil
}

// add takes one OU: a bound if it holds a colon, which no role does.
func (u *units) add(s string) error {
	if err := plain("OU", s); err != nil {
		return err
	}
	if strings.Contains(s, ":") {
		return u.bounds.parse(s)
	}
	r, err := parseUnit(s)
	if err != nil {
		return err
	}
	if slices.Contains(u.roles, r) {
		return fmt.Errorf("%w: %s", ErrDuplicateRole, r)
	}
	if u.roles = append(u.roles, r); len(u.roles) > subjects.MaxRoles {
		return fmt.Errorf("%w: more than %d", ErrManyRoles, subjects.MaxRoles)
	}
	return nil
}

func parseUnit(s string) (subjects.Role, error) {
	r, err := subjects.ParseRole(s)
	switch {
	case err == nil:
		return r, nil
	case strings.HasPrefix(s, "thor_"):
		return "", fmt.Errorf("%w: %w", ErrReservedRole, err)
	}
	return "", fmt.Errorf("%w: %w", ErrRole, err)
}

// plain refuses what one program prints as one name and another reads as two.
func plain(field, s string) error {
	if err := ascii(field, s); err != nil {
		return err
	}
	if strings.ContainsAny(s, `,+;=\/"<>#`) {
		return fmt.Errorf("%w: %s is %s", ErrSeparator, field, show(s))
	}
	return nil
}

// ascii refuses look-alikes: a Cyrillic а reads like a Latin a.
func ascii(field, s string) error {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return fmt.Errorf("%w: %s is %s", ErrNonASCII, field, show(s))
		}
	}
	return nil
}

// subjectDER writes the subject of a node's certificate. pkix.Name cannot: it
// puts all OUs into one multi-valued RDN.
func subjectDER(domain string, roles []subjects.Role, b bounds, site subjects.Site, commonName string) ([]byte, error) {
	rdn := func(oid asn1.ObjectIdentifier, v string) pkix.RelativeDistinguishedNameSET {
		return pkix.RelativeDistinguishedNameSET{{Type: oid, Value: v}}
	}
	var seq pkix.RDNSequence
	if domain != "" { // a request may leave it to the authority
		seq = append(seq, rdn(oidOrganization, domain))
	}
	for _, r := range roles {
		seq = append(seq, rdn(oidUnit, string(r)))
	}
	for _, s := range b.units() {
		seq = append(seq, rdn(oidUnit, s))
	}
	if site != "" {
		seq = append(seq, rdn(oidLocality, string(site)))
	}
	return asn1.Marshal(append(seq, rdn(oidCommonName, commonName)))
}
