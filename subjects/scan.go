package subjects

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// A scanner walks over JSON text without building anything of it. It is lenient:
// what it accepts may still be no JSON, what encoding/json accepts it reads right.
// It finds what that leaves out: equal keys, of which the last would win, and depth.
type scanner struct {
	b    []byte
	i    int
	keys []span // of the objects that are open, the innermost last
}

// A span is a piece of the text.
type span struct{ from, to int }

// manyKeys is from when on an object's keys are compared by a map.
const manyKeys = 24

// scanText checks that b is one JSON object, if it is JSON, without equal keys and
// not nested too deep.
func scanText(b []byte) error {
	s := scanner{b: b, keys: make([]span, 0, 2*manyKeys)}
	if s.space(); s.peek() != '{' {
		return Bad(CodeJSON, "not a JSON object")
	}
	if err := s.object(1); err != nil {
		return err
	}
	if s.space(); s.i < len(b) {
		return Bad(CodeJSON, "something follows the JSON object")
	}
	return nil
}

// peek is the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\t' || s.b[s.i] == '\r') {
		s.i++
	}
}

// take steps over c, after blanks, if it is next.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.peek() != c {
		return false
	}
	s.i++
	return true
}

func (s *scanner) bad() error { return Bad(CodeJSON, "malformed at byte %d", s.i) }

// text steps over a string, quotes included.
func (s *scanner) text() (span, bool) {
	s.space()
	from := s.i
	if s.peek() != '"' {
		return span{}, false
	}
	for s.i++; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '\\':
			s.i++
		case '"':
			s.i++
			return span{from, s.i}, true
		}
	}
	return span{}, false
}

// scalar steps over a number, true, false or null.
func (s *scanner) scalar() (span, bool) {
	from := s.i
	for ; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case ',', ']', '}', ':', '"', ' ', '\n', '\t', '\r':
			return span{from, s.i}, s.i > from
		}
	}
	return span{from, s.i}, s.i > from
}

// object steps over an object at depth.
func (s *scanner) object(depth int) error {
	first, many := len(s.keys), map[string]struct{}(nil)
	s.i++ // the brace
	if s.take('}') {
		return nil
	}
	for {
		k, ok := s.text()
		if !ok || !s.take(':') {
			return s.bad()
		}
		if err := s.unique(k, first, &many); err != nil {
			return err
		}
		if err := s.value(depth); err != nil {
			return err
		}
		if s.take('}') {
			s.keys = s.keys[:first]
			return nil
		}
		if !s.take(',') {
			return s.bad()
		}
	}
}

// unique notes the key k of an object whose keys begin at first, and fails if it has
// one like it.
func (s *scanner) unique(k span, first int, many *map[string]struct{}) error {
	raw, n := s.b[k.from:k.to], len(s.keys)-first
	if *many == nil && n < manyKeys && bytes.IndexByte(raw, '\\') < 0 {
		for _, o := range s.keys[first:] {
			if bytes.Equal(s.b[o.from:o.to], raw) {
				return s.twice(k)
			}
		}
		s.keys = append(s.keys, k)
		return nil
	}
	if *many == nil { // many keys, or keys with escapes: compared as what they mean
		*many = make(map[string]struct{}, 2*n)
		for _, o := range s.keys[first:] {
			(*many)[s.meaning(o)] = struct{}{}
		}
	}
	m := s.meaning(k)
	if _, dup := (*many)[m]; dup {
		return s.twice(k)
	}
	(*many)[m] = struct{}{}
	return nil
}

func (s *scanner) twice(k span) error { return Bad(CodeJSON, "key %q twice", clip(s.meaning(k))) }

// meaning is the string that stands at k; malformed escapes mean themselves, and
// encoding/json refuses them later.
func (s *scanner) meaning(k span) string {
	raw := s.b[k.from:k.to]
	var m string
	if bytes.IndexByte(raw, '\\') >= 0 && json.Unmarshal(raw, &m) == nil {
		return m
	}
	return string(raw[1 : len(raw)-1])
}

// value steps over any value in an object or list at depth.
func (s *scanner) value(depth int) error {
	s.space()
	switch c := s.peek(); c {
	case '"':
		if _, ok := s.text(); !ok {
			return s.bad()
		}
		return nil
	case '{', '[':
		if depth++; depth > maxDepth {
			return Bad(CodeJSON, "nested deeper than %d", maxDepth)
		}
		if c == '{' {
			return s.object(depth)
		}
		return s.list(depth)
	}
	if _, ok := s.scalar(); !ok {
		return s.bad()
	}
	return nil
}

// list steps over a list at depth.
func (s *scanner) list(depth int) error {
	s.i++ // the bracket
	if s.take(']') {
		return nil
	}
	for {
		if err := s.value(depth); err != nil {
			return err
		}
		if s.take(']') {
			return nil
		}
		if !s.take(',') {
			return s.bad()
		}
	}
}

// UnmarshalJSON turns scalar values into their text and refuses the rest.
func (a *Attrs) UnmarshalJSON(b []byte) error {
	s := scanner{b: b}
	if s.space(); s.peek() != '{' {
		if bytes.Equal(bytes.TrimSpace(b), []byte("null")) {
			*a = nil
			return nil
		}
		return Bad(CodeType, "attrs is not an object")
	}
	s.i++
	m := Attrs{}
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return Bad(CodeType, "attrs is not an object")
		}
		k, ok := s.text()
		if !ok || !s.take(':') {
			return Bad(CodeType, "attrs is not an object")
		}
		if err := s.attr(m, s.meaning(k)); err != nil {
			return err
		}
	}
	*a = m
	return nil
}

// UnmarshalJSON reads [epoch, generation].
func (m *Mark) UnmarshalJSON(b []byte) error {
	s := scanner{b: b}
	if !s.take('[') {
		return errMark
	}
	for i, n := range []*uint64{&m.Epoch, &m.Generation} {
		if i > 0 && !s.take(',') {
			return errMark
		}
		s.space()
		v, _ := s.scalar()
		x, err := strconv.ParseUint(string(b[v.from:v.to]), 10, 64)
		if err != nil {
			return errMark
		}
		*n = x
	}
	if !s.take(']') {
		return errMark
	}
	return nil
}

var errMark = Bad(CodeType, "a mark is [epoch, generation]")

// attr reads the value of the attribute k into m.
func (s *scanner) attr(m Attrs, k string) error {
	s.space()
	switch s.peek() {
	case '"':
		v, ok := s.text()
		if !ok {
			return Bad(CodeType, "attrs is not an object")
		}
		m[k] = s.meaning(v)
		return nil
	case '{', '[':
		return Bad(CodeType, "attribute %q is not a plain value", clip(k))
	}
	v, ok := s.scalar()
	if !ok {
		return Bad(CodeType, "attrs is not an object")
	}
	if t := string(s.b[v.from:v.to]); t != "null" {
		m[k] = t
	} else {
		delete(m, k) // of equal keys the last one counts
	}
	return nil
}
