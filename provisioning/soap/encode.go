package soap

import (
	"encoding/base64"
	"reflect"
	"strconv"
	"unicode/utf8"
)

const envelopeHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
	`<SOAP-ENV:Envelope xmlns:SOAP-ENV="` + nsEnvelope + `" xmlns:SOAP-ENC="` + nsEncoding + `" xmlns:xsd="` + nsSchema +
	`" xmlns:xsi="` + nsInstance + `" SOAP-ENV:encodingStyle="` + nsEncoding + `"`

const envelopeTail = "</SOAP-ENV:Body></SOAP-ENV:Envelope>\n"

// Response is the envelope that answers operation of a port. types is the
// namespace of the types; result nil, or a nil pointer, is no result.
func Response(port, types, operation string, result any) []byte {
	b := make([]byte, 0, 2048)
	b = append(b, envelopeHead...)
	b = appendAttr(b, "xmlns:tns", types)
	b = append(b, "><SOAP-ENV:Body><ns1:"...)
	b = append(b, operation...)
	b = append(b, "Response"...)
	b = appendAttr(b, "xmlns:ns1", port)
	b = append(b, '>')
	if v := reflect.ValueOf(result); v.IsValid() && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		b = appendValue(b, resultName, schemaOf(v.Type(), ""), v)
	}
	b = append(b, "</ns1:"...)
	b = append(b, operation...)
	b = append(b, "Response>"...)
	return append(b, envelopeTail...)
}

// resultName is the element with the result of an operation.
const resultName = "return"

// Envelope is the message of a fault. Its detail has no types: clients would wrap
// what they read.
func (f *Fault) Envelope() []byte {
	b := append([]byte(nil), envelopeHead...)
	b = append(b, "><SOAP-ENV:Body><SOAP-ENV:Fault><faultcode>SOAP-ENV:"...)
	b = append(b, f.Code...)
	b = append(b, "</faultcode><faultstring>"...)
	b = appendText(b, f.Name)
	b = append(b, "</faultstring>"...)
	if f.Number != 0 || f.Text != "" {
		b = append(b, "<detail><exception><errorcode>"...)
		b = strconv.AppendInt(b, int64(f.Number), 10)
		b = append(b, "</errorcode><errorstring>"...)
		b = appendText(b, f.Text)
		b = append(b, "</errorstring></exception></detail>"...)
	}
	b = append(b, "</SOAP-ENV:Fault>"...)
	return append(b, envelopeTail...)
}

func appendValue(b []byte, name string, s *schema, v reflect.Value) []byte {
	b = append(b, '<')
	b = append(b, name...)
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return append(b, ` xsi:nil="true"/>`...)
		}
		v = v.Elem()
	}
	if s.kind == kindArray {
		b = append(b, ` xsi:type="SOAP-ENC:Array" SOAP-ENC:arrayType="`...)
		b = append(b, s.item.qualified()...)
		b = append(b, '[')
		b = strconv.AppendInt(b, int64(v.Len()), 10)
		b = append(b, `]">`...)
		for i := range v.Len() {
			b = appendValue(b, "item", s.item, v.Index(i))
		}
		return appendEnd(b, name)
	}
	b = append(b, ` xsi:type="`...)
	b = append(b, s.qualified()...)
	b = append(b, `">`...)
	switch s.kind {
	case kindStruct:
		for i := range s.fields {
			f := &s.fields[i]
			b = appendValue(b, f.name, f.schema, v.Field(f.index))
		}
	case kindString:
		b = appendText(b, v.String())
	case kindInt:
		b = strconv.AppendInt(b, v.Int(), 10)
	case kindFloat:
		b = strconv.AppendFloat(b, v.Float(), 'f', -1, 64)
	case kindBool:
		b = strconv.AppendBool(b, v.Bool())
	case kindBytes:
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
	}
	return appendEnd(b, name)
}

func appendEnd(b []byte, name string) []byte {
	b = append(b, "</"...)
	b = append(b, name...)
	return append(b, '>')
}

func appendAttr(b []byte, name, value string) []byte {
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, '=', '"')
	b = appendText(b, value)
	return append(b, '"')
}

// appendText escapes what XML gives a meaning, and replaces what XML 1.0 cannot
// hold by U+FFFD.
func appendText(b []byte, s string) []byte {
	from := 0
	for i := 0; i < len(s); {
		esc, n := "", 1
		switch c := s[i]; {
		case c == '&':
			esc = "&amp;"
		case c == '<':
			esc = "&lt;"
		case c == '>':
			esc = "&gt;"
		case c == '"':
			esc = "&#34;"
		case c == '\r':
			esc = "&#13;" // a parser would make it a line feed
		case c == '\n', c == '\t':
		case c < 0x20:
			esc = "\uFFFD"
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(s[i:])
			if n = size; r == utf8.RuneError && size == 1 || r == 0xFFFE || r == 0xFFFF {
				esc = "\uFFFD"
			}
		}
		if esc != "" {
			b = append(b, s[from:i]...)
			b = append(b, esc...)
			from = i + n
		}
		i += n
	}
	return append(b, s[from:]...)
}
