package provisioning_test

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"thor/provisioning"
)

// Each file of testdata/wire is a request as it stands on the wire and what has
// to be true of its answer: the HTTP status, then lines that are in the body
// or, with a "!" before them, are not. $AUTH is the header block of the
// administrator; "-- path --" and "-- headers --" are optional. What follows a
// line "-- then --" is sent after it to the same server.
func TestWire(t *testing.T) {
	files, err := filepath.Glob("testdata/wire/*.txt")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			s := newServer(t, populated(t))
			for step := range strings.SplitSeq(string(b), "-- then --\n") {
				exchangeOnWire(t, s, step)
			}
		})
	}
}

const authBlock = `<auth><username>` + adminUser + `</username><password>s3cret &amp; &lt;sûre&gt;</password><admin>true</admin></auth>`

func exchangeOnWire(t *testing.T, s *provisioning.Server, text string) {
	t.Helper()
	part := func(name string) string {
		_, after, ok := strings.Cut(text, "-- "+name+" --\n")
		if !ok {
			return ""
		}
		if i := strings.Index(after, "\n-- "); i >= 0 {
			after = after[:i]
		}
		return strings.TrimSuffix(after, "\n")
	}
	path := part("path")
	if path == "" {
		path = "/"
	}
	r := httptest.NewRequest("POST", path, strings.NewReader(strings.ReplaceAll(part("request"), "$AUTH", authBlock)))
	r.Header.Set("Content-Type", "text/xml; charset=UTF-8")
	for l := range strings.SplitSeq(part("headers"), "\n") {
		if k, v, ok := strings.Cut(l, ": "); ok {
			r.Header.Set(textproto.TrimString(k), v)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	body := w.Body.String()
	wellFormed(t, body)
	want := strings.Split(strings.TrimSpace(part("want")), "\n")
	if status, err := strconv.Atoi(want[0]); err != nil || w.Code != status {
		t.Errorf("status %d, want %s", w.Code, want[0])
	}
	for _, l := range want[1:] {
		if not, ok := strings.CutPrefix(l, "!"); ok == strings.Contains(body, strings.TrimSpace(not)) {
			t.Errorf("want %s", l)
		}
	}
	if t.Failed() {
		t.Logf("answer: %s", body)
	}
}

func wellFormed(t *testing.T, s string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("the answer is not well-formed: %v", err)
			return
		}
	}
}
