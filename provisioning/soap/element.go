package soap

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
)

// An Element of a message: structure and text, without comments.
type Element struct {
	Name     xml.Name
	Attrs    []xml.Attr // without namespace declarations
	Text     string     // what stands directly in it
	Children []*Element
}

// attr is the value of an attribute by its local name, whatever its namespace:
// the names that are asked for here exist in one only.
func (e *Element) attr(local string) (string, bool) {
	for _, a := range e.Attrs {
		if a.Name.Local == local {
			return a.Value, true
		}
	}
	return "", false
}

// child is the first child of that local name, or nil.
func (e *Element) child(local string) *Element {
	i := slices.IndexFunc(e.Children, func(c *Element) bool { return c.Name.Local == local })
	if i < 0 {
		return nil
	}
	return e.Children[i]
}

func (e *Element) empty() bool {
	return len(e.Children) == 0 && strings.TrimSpace(e.Text) == ""
}

// isNil: xsi:nil, or xsi:null of the schema drafts.
func (e *Element) isNil() bool {
	for _, name := range []string{"nil", "null"} {
		if v, ok := e.attr(name); ok && (v == "true" || v == "1") {
			return true
		}
	}
	return false
}

// A Message is read in two steps: Open reads up to its body, Body the rest.
type Message struct {
	Header []*Element // the blocks of the header

	dec      *xml.Decoder
	depth    int
	elements int
	limit    int       // of elements
	begun    bool      // something but the XML declaration was read
	ended    bool      // the envelope was
	body     *xml.Name // the element that Open stopped at
	ids      map[string]*Element
}

// Open reads the beginning of a message: its envelope and header. charset is
// that of the transport, which takes precedence over the XML declaration; it
// may be empty. The error is a *Fault.
func Open(data []byte, charset string) (*Message, error) {
	if len(data) > MaxMessage {
		return nil, &Fault{Code: Client, Name: "MessageTooLarge", Text: "the message is larger than 256 KiB", Status: 413}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	m := &Message{limit: maxHeader, ids: make(map[string]*Element)}
	if charset != "" {
		r, err := charsetReader(charset, bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		m.dec = xml.NewDecoder(r)
		m.dec.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	} else {
		m.dec = xml.NewDecoder(bytes.NewReader(data))
		m.dec.CharsetReader = charsetReader
	}
	if err := m.open(); err != nil {
		return nil, fault(err)
	}
	m.limit = maxElements
	return m, nil
}

// fault makes every error of reading a *Fault.
func fault(err error) error {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		return malformed("not well-formed XML: line %d: %s", syntax.Line, syntax.Msg)
	}
	if errors.Is(err, io.EOF) {
		return malformed("the XML ends too early")
	}
	return malformed("not well-formed XML")
}

func (m *Message) open() error {
	t, err := m.next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return malformed("there is no message")
		}
		return err
	}
	env, ok := t.(xml.StartElement)
	switch {
	case !ok || env.Name.Local != "Envelope":
		return malformed("the root is not a SOAP envelope")
	case env.Name.Space != nsEnvelope:
		return &Fault{Code: VersionMismatch, Name: "VersionMismatch", Text: "this is SOAP 1.1: the envelope's namespace is " + nsEnvelope}
	}
	start, err := m.nextStart()
	if err != nil {
		return err
	}
	if start != nil && soapName(*start, "Header") {
		h, err := m.tree(*start)
		if err != nil {
			return err
		}
		m.Header = h.Children
		if start, err = m.nextStart(); err != nil {
			return err
		}
	}
	if start == nil || !soapName(*start, "Body") {
		return malformed("a SOAP envelope holds an optional Header and one Body")
	}
	m.body = &start.Name
	return m.understand()
}

func soapName(e xml.StartElement, local string) bool {
	return e.Name.Local == local && e.Name.Space == nsEnvelope
}

// understand refuses header blocks that the client insists on and that are
// nothing to us, SOAP 1.1 4.2.3. Credentials are something to us.
func (m *Message) understand() error {
	for _, h := range m.Header {
		must, _ := h.attr("mustUnderstand")
		actor, _ := h.attr("actor")
		if h.Name.Local != AuthHeader && (must == "1" || must == "true") && (actor == "" || actor == actorNext) {
			return &Fault{Code: MustUnderstand, Name: "MustUnderstand", Text: "there is a header block that must be understood and is not"}
		}
	}
	return nil
}

// AuthHeader is the local name of the header block with credentials.
const AuthHeader = "auth"

// Body reads the rest of the message, which must end with the envelope, and
// returns the element of the call. The error is a *Fault.
func (m *Message) Body() (*Element, error) {
	call, err := m.readBody()
	if err != nil {
		return nil, fault(err)
	}
	return call, nil
}

func (m *Message) readBody() (*Element, error) {
	b, err := m.tree(xml.StartElement{Name: *m.body})
	if err != nil {
		return nil, err
	}
	if rest, err := m.nextStart(); err != nil {
		return nil, err
	} else if rest != nil {
		return nil, malformed("something follows the body")
	}
	m.ended = true
	if _, err := m.next(); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, err
		}
		return nil, malformed("something follows the envelope")
	}
	// The call is the first that is not there only to be referred to.
	for _, c := range b.Children {
		if root, _ := c.attr("root"); root != "0" && c.Name.Local != "multiRef" {
			return c, nil
		}
	}
	return nil, malformed("the body is empty: it names no operation")
}

// nextStart is the next element inside the present one, nil at its end.
func (m *Message) nextStart() (*xml.StartElement, error) {
	t, err := m.next()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case xml.StartElement:
		return &t, nil
	case xml.CharData:
		return nil, malformed("text where an element belongs")
	}
	return nil, nil
}

// next is the next token that means something, checked against the limits.
// Text that is blank counts only below the body.
func (m *Message) next() (xml.Token, error) {
	for {
		t, err := m.dec.Token()
		if err != nil {
			return nil, err
		}
		first := !m.begun
		if c, ok := t.(xml.CharData); !ok || len(bytes.TrimSpace(c)) > 0 {
			m.begun = true
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, malformed("a document type declaration is not allowed")
		case xml.ProcInst:
			if !first || t.Target != "xml" {
				return nil, malformed("a processing instruction is not allowed")
			}
		case xml.StartElement:
			if m.ended {
				return nil, malformed("something follows the envelope")
			}
			if t, err = m.admit(t); err != nil {
				return nil, err
			}
			return t, nil
		case xml.EndElement:
			m.depth--
			return t, nil
		case xml.CharData:
			if m.depth > 2 || len(bytes.TrimSpace(t)) > 0 {
				return t, nil
			}
		}
	}
}

// admit counts an element in, and takes the namespace declarations off it.
func (m *Message) admit(e xml.StartElement) (xml.StartElement, error) {
	m.depth++
	m.elements++
	switch {
	case m.depth > maxDepth:
		return e, malformed("elements are nested deeper than %d", maxDepth)
	case m.elements > m.limit:
		return e, malformed("more than %d elements", m.limit)
	case len(e.Attr) > maxAttrs:
		return e, malformed("an element has more than %d attributes", maxAttrs)
	}
	for i, a := range e.Attr {
		if slices.ContainsFunc(e.Attr[:i], func(b xml.Attr) bool { return b.Name == a.Name }) {
			return e, malformed("an element has an attribute twice")
		}
	}
	e.Attr = slices.DeleteFunc(e.Attr, func(a xml.Attr) bool { return a.Name.Space == "xmlns" || a.Name.Local == "xmlns" })
	return e, nil
}

// tree reads an element to its end. Its depth is bounded by next.
func (m *Message) tree(start xml.StartElement) (*Element, error) {
	e := &Element{Name: start.Name, Attrs: start.Attr}
	if id, ok := e.attr("id"); ok {
		if _, twice := m.ids[id]; twice {
			return nil, malformed("two elements have the same id")
		}
		m.ids[id] = e
	}
	var text []byte
	for {
		t, err := m.next()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.CharData:
			text = append(text, t...)
		case xml.StartElement:
			c, err := m.tree(t)
			if err != nil {
				return nil, err
			}
			e.Children = append(e.Children, c)
		case xml.EndElement:
			e.Text = string(text)
			return e, nil
		}
	}
}
