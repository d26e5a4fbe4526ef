package subjects

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Version is the protocol version, the "v" of every payload.
const Version = 1

// Limits that senders keep and receivers enforce.
const (
	MaxAnnouncement = 8 << 10               // bytes of an Announcement
	MaxDelta        = 8 << 10               // bytes of a Delta as plain JSON; a bigger one is compressed
	maxBigDelta     = 4 << 20               // bytes of a compressed Delta's JSON; a bigger change tells receivers to fetch the snapshot
	MaxView         = 512 << 10             // bytes of a RoleView
	maxStatus       = 64 << 20              // bytes of a Status: far above 10,000 members
	MaxStatusKey    = 512 << 10             // bytes of a Status kept in one KV key
	MaxPayload      = MaxStatusKey + 64<<10 // bytes of any message, headers included: brokers refuse more
	MaxAddresses    = 8
	MaxAttrs        = 16
	MaxAttrValue    = 512 // bytes
	MaxReason       = 200 // bytes
	MaxHash         = 64  // bytes
	MaxRoles        = 16  // roles of one certificate
	MaxCertified    = 32  // addresses of one certificate
	MaxWeight       = 65535
	maxPriority     = 65535
	maxDepth        = 16
	// MaxNumber is the greatest epoch or generation: beyond it a JSON reader in
	// another language would lose precision, so it is taken for a lie.
	MaxNumber = 1 << 53
)

// A Code classifies what is wrong with a message. The set is closed: codes are
// metric labels.
type Code string

// The codes, in the order in which a decoder checks.
const (
	CodeEmpty    Code = "empty"
	CodeTooLarge Code = "too_large"
	CodeUTF8     Code = "not_utf8"
	CodeJSON     Code = "not_json"   // not one JSON object, duplicate keys, nested too deep
	CodeType     Code = "wrong_type" // a known field holds the wrong kind of value
	CodeVersion  Code = "version"
	CodeName     Code = "name"    // a role or node that is not one
	CodeForeign  Code = "foreign" // body and subject disagree
	CodeAddress  Code = "address"
	CodeState    Code = "state"
	CodeRange    Code = "range" // a number outside its range
	CodeText     Code = "text"  // too long, or control characters in it
	CodeReplay   Code = "replay"
	CodeAbsurd   Code = "absurd" // a claim about epoch or generation far above the rest
)

// A BadMessage is why a message was dropped.
type BadMessage struct {
	Code   Code
	Detail string // one line, safe to print
}

func (e *BadMessage) Error() string { return "bad message (" + string(e.Code) + "): " + e.Detail }

// Bad is a BadMessage; its Detail is made printable and short.
func Bad(c Code, format string, args ...any) error {
	return &BadMessage{c, Printable(fmt.Sprintf(format, args...), 200)}
}

// CodeOf is the code of a BadMessage anywhere in err's chain, "" otherwise.
func CodeOf(err error) Code {
	var b *BadMessage
	if errors.As(err, &b) {
		return b.Code
	}
	return ""
}

// Printable makes foreign text safe for a terminal or a log: control and
// non-graphic characters become U+FFFD, and it is cut to max bytes.
func Printable(s string, max int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return '\uFFFD'
	}, s)
	for len(s) > max {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// CheckText returns a BadMessage unless s is at most max bytes of text without
// control characters.
func CheckText(field, s string, max int) error {
	switch {
	case isText(s, max):
		return nil
	case len(s) > max:
		return Bad(CodeText, "%s is longer than %d bytes", field, max)
	}
	return Bad(CodeText, "%s holds a control character", field)
}

func isText(s string, max int) bool {
	if len(s) > max {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f {
			return false
		} else if c >= utf8.RuneSelf {
			return isGraphic(s[i:])
		}
	}
	return true
}

func isGraphic(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			return false
		}
	}
	return true
}

// Decode reads one JSON object of at most max bytes into v and returns a
// BadMessage if it is none. encoding/json would let the last of two equal keys
// win, so the text is scanned first. The caller checks the version and the rest.
func Decode(b []byte, max int, v any) error {
	switch {
	case len(b) == 0:
		return Bad(CodeEmpty, "no payload")
	case len(b) > max:
		return Bad(CodeTooLarge, "%d bytes, %d allowed", len(b), max)
	case !utf8.Valid(b):
		return Bad(CodeUTF8, "payload is not UTF-8")
	}
	if err := scanText(b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		var bad *BadMessage
		var syntax *json.SyntaxError
		switch {
		case errors.As(err, &bad):
			return bad
		case errors.As(err, &syntax):
			return Bad(CodeJSON, "%v", err)
		}
		return Bad(CodeType, "%v", err)
	}
	return nil
}

// Encode is the wire form of v. It panics if v holds what JSON cannot say:
// channels, functions or non-finite numbers.
func Encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("subjects: encode: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// CheckVersion accepts only the major version this package speaks; additions
// do not raise it.
func CheckVersion(v int) error {
	if v != Version {
		return Bad(CodeVersion, "v is %d, not %d", v, Version)
	}
	return nil
}
