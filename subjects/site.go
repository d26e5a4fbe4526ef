package subjects

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Site says where a node is: a data centre, a building, a city. The zero value is "no
// site". ParseSite alone knows its form.
type Site string

// MaxSite is the length of the longest Site.
const MaxSite = 32

// ErrBadSite is wrapped by the errors of ParseSite.
var ErrBadSite = errors.New("not a site")

// ParseSite returns s as a Site; the empty text is no site. The error wraps ErrBadSite
// and says what is wrong.
func ParseSite(s string) (Site, error) {
	if !isSite(s) && s != "" {
		return "", fmt.Errorf("%w: %+q must be 1 to %d characters of a-z, 0-9 and hyphens", ErrBadSite, clip(s), MaxSite)
	}
	return Site(s), nil
}

func isSite[T string | []byte](s T) bool {
	if len(s) == 0 || len(s) > MaxSite {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

func (s Site) check() error {
	if s != "" && !isSite(string(s)) {
		return Bad(CodeText, "site %q", clip(string(s)))
	}
	return nil
}

// Place is where m is, as far as is known: its Site, or else the one that it only
// announces. It serves for show and for what harms none if it is wrong.
func (m *Member) Place() Site {
	if m.Site != "" {
		return m.Site
	}
	return m.AnnouncedSite
}

// Places are the sites of the members of s, announced ones too, sorted.
func (s *Status) Places() []Site {
	if s == nil {
		return nil
	}
	seen := make(map[Site]bool)
	var out []Site
	for _, ms := range s.Roles {
		for i := range ms {
			if x := ms[i].Place(); x != "" && !seen[x] {
				seen[x] = true
				out = append(out, x)
			}
		}
	}
	slices.Sort(out)
	return out
}

// siteSilence begins the reason of members that left since their whole site fell silent.
const siteSilence = "silent, with its whole site "

// SilentWith is the reason of a Lost that left since nothing was heard of its whole site.
func SilentWith(site Site) string { return siteSilence + string(site) }

// SilentSite is the site with which l fell silent; "" if it failed by itself. An entry has
// no site of its own: what was lost later or earlier is told apart by this.
func (l *Lost) SilentSite() Site {
	if name, ok := strings.CutPrefix(l.Reason, siteSilence); ok && isSite(name) {
		return Site(name)
	}
	return ""
}

// siteGuard begins the detail of events about the guard of a site; its name follows.
const siteGuard = "site: "

// GuardedSite is the site of which e says that nothing is heard any more (EventGuard), or
// that this has ended (EventGuardEnd); "" if it says neither.
func (e *Event) GuardedSite() Site {
	rest, ok := strings.CutPrefix(e.Detail, siteGuard)
	if name, _, _ := strings.Cut(rest, ":"); ok && (e.Kind == EventGuard || e.Kind == EventGuardEnd) && isSite(name) {
		return Site(name)
	}
	return ""
}

// SitesDigest names the sites of all members of s: 32 hex digits of the SHA-256 of the
// list [{"role","node","site" or "announced_site"}…], by role and node, of the members that
// have one; "" if none has.
func (s *Status) SitesDigest() string {
	if s == nil {
		return ""
	}
	b := []byte{'['}
	n := 0
	for _, r := range s.RoleNames() {
		ms := s.Roles[r]
		for i := range ms {
			if ms[i].Place() == "" {
				continue
			}
			b = appendText(append(comma(b, n), `{"role":`...), string(r))
			b = appendText(append(b, `,"node":`...), string(ms[i].Node))
			b = append(appendSite(b, &ms[i]), '}')
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return Digest(append(b, ']'))
}

// WithoutSites is s with no site of any member.
func (s *Status) WithoutSites() *Status {
	c := s.Clone()
	for _, ms := range c.Roles {
		for i := range ms {
			ms[i].Site, ms[i].AnnouncedSite = "", ""
		}
	}
	for r, l := range c.Lookup {
		l.RemoteDigest = ""
		c.Lookup[r] = l
	}
	return c
}

// The digest of a status covers no sites, since members of an earlier version know nothing
// of them. So they are no part of what Encode returns. They stand in the text of a full
// encoding behind the attributes of their member, where nothing else can look like them.
var siteKeys = []string{`,"site":"`, `,"announced_site":"`}

// appendSite appends what is said of m's site.
func appendSite(b []byte, m *Member) []byte {
	if m.Site != "" {
		b = append(append(append(b, siteKeys[0]...), m.Site...), '"')
	}
	if m.AnnouncedSite != "" {
		b = append(append(append(b, siteKeys[1]...), m.AnnouncedSite...), '"')
	}
	return b
}

// insertSites is encoded, what Encode returned for s, with the sites; encoded itself if there
// are none.
func (s *Status) insertSites(encoded []byte) []byte {
	if s.SitesDigest() == "" {
		return encoded
	}
	b := appendStatusHead(make([]byte, 0, len(encoded)+len(encoded)/8), s)
	for i, r := range s.RoleNames() {
		b = append(appendText(comma(b, i), string(r)), ':')
		b = appendSitedMembers(b, s.Roles[r])
	}
	return appendStatusTail(b, s, appendSitedLookup)
}

// removeSites is the opposite of insertSites. A text of another form is left alone where it
// differs: its digest is not that of a status.
func removeSites(b []byte) []byte {
	b = removeRemotes(b)
	if !bytes.Contains(b, []byte("}"+siteKeys[0])) && !bytes.Contains(b, []byte("}"+siteKeys[1])) {
		return b
	}
	out := make([]byte, 0, len(b))
	for {
		at := bytes.Index(b, []byte("},\""))
		if at < 0 {
			return append(out, b...)
		}
		out = append(out, b[:at+1]...)
		b = b[at+1:]
		for _, key := range siteKeys {
			b = cutSite(b, key)
		}
	}
}

// cutSite is b without the site that it begins with under key.
func cutSite(b []byte, key string) []byte {
	rest, ok := bytes.CutPrefix(b, []byte(key))
	if !ok {
		return b
	}
	if site, after, ok := bytes.Cut(rest, []byte{'"'}); ok && isSite(site) {
		return after
	}
	return b
}

// The digest of a table's remotes follows from sites, and stands behind the digest of
// the table. What begins a table is no part of any text or attribute: a number follows.
const (
	lookupMark = `{"bits":`
	remoteKey  = `,"remote_digest":`
)

// removeRemotes is b without the digests of remotes.
func removeRemotes(b []byte) []byte {
	if !bytes.Contains(b, []byte(remoteKey)) {
		return b
	}
	out := make([]byte, 0, len(b))
	for {
		at := bytes.Index(b, []byte(lookupMark))
		end := bytes.IndexByte(b[max(at, 0):], '}')
		if at < 0 || end < 0 {
			return append(out, b...)
		}
		table := b[at : at+end]
		before, after, ok := bytes.Cut(table, []byte(remoteKey))
		if ok && table[len(lookupMark)] != '"' && len(after) == 18 && isLookupDigest(string(after[1:17])) {
			table = before
		}
		out = append(append(out, b[:at]...), table...)
		b = b[at+end:]
	}
}

// A Remainder is what a role has without a site.
type Remainder struct {
	Role Role
	Here int // members of the site that serve
	Left int // members elsewhere, or of no known site, that are up
	Kept int // members there that have failed and that a guard or an operator keeps
}

// Without is what each role that site serves would have without it, by role.
func (s *Status) Without(site Site) (out []Remainder) {
	for _, r := range s.RoleNames() {
		x := Remainder{Role: r}
		for i := range s.Roles[r] {
			switch m := &s.Roles[r][i]; {
			case !m.Serves():
			case m.Place() == site:
				x.Here++
			case m.State == Up:
				x.Left++
			default:
				x.Kept++
			}
		}
		if x.Here > 0 {
			out = append(out, x)
		}
	}
	return out
}
