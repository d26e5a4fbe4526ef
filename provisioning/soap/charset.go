package soap

import (
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

// charsetReader makes UTF-8 of the few other encodings that SOAP clients of the
// time could be set to.
func charsetReader(charset string, r io.Reader) (io.Reader, error) {
	switch strings.ToLower(charset) {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return r, nil
	case "iso-8859-1", "latin1":
		return &latin1{r: r}, nil
	}
	return nil, &Fault{
		Code: Client, Name: "UnsupportedCharset", Text: "use UTF-8 (or ISO-8859-1)", Status: http.StatusUnsupportedMediaType,
	}
}

// latin1 decodes ISO-8859-1, whose bytes are the first 256 code points.
type latin1 struct {
	r    io.Reader
	rest []byte
}

func (l *latin1) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		var in [512]byte
		n, err := l.r.Read(in[:])
		if n == 0 {
			return 0, err
		}
		for _, b := range in[:n] {
			l.rest = utf8.AppendRune(l.rest, rune(b))
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}
