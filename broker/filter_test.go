package broker

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A recorder is a policy that notes what it is asked.
type recorder struct {
	own  string // prefix of allowed replies
	log  []string
	stop int // error at so many calls; 0 is never
}

var errStop = errors.New("enough")

func (j *recorder) note(format string, a ...any) error {
	j.log = append(j.log, fmt.Sprintf(format, a...))
	if len(j.log) == j.stop {
		return errStop
	}
	return nil
}
func (j *recorder) message(s []byte, _, n int) error { return j.note("message %s %d", s, n) }
func (j *recorder) control() error                   { return nil }
func (j *recorder) subscribed(_, sid []byte) error   { return j.note("sub %s", sid) }
func (j *recorder) unsubscribed(sid []byte, later bool) {
	if later {
		_ = j.note("later %s", sid)
		return
	}
	_ = j.note("unsub %s", sid)
}
func (j *recorder) inspects(s []byte) bool     { return string(s) == "whole" }
func (j *recorder) sound(p []byte) bool        { return string(p) == "good" }
func (j *recorder) replyAllowed(r []byte) bool { return strings.HasPrefix(string(r), j.own) }
func (j *recorder) refused(why refusal)        { _ = j.note("refused %s", why) }

const hdr = "NATS/1.0\r\nA: b\r\n\r\n" // 18 bytes

func TestFilterLetsThroughWhatItsPolicyAllows(t *testing.T) {
	for _, c := range []struct{ name, in, out, log string }{
		{"all operations", "CONNECT {}\r\nPING\r\nPONG\r\nSUB a 1\r\nSUB a q 2\r\nUNSUB 1\r\nUNSUB 2 5\r\nPUB a 2\r\nhi\r\nPUB a _INBOX.n1.x 0\r\n\r\n", "=", "sub 1,sub 2,unsub 1,later 2,message a 2,message a 0"},
		{"any case, blanks, bare line feeds", "connect {}\nPing \r\nsUb\t a  1 \nPub a\t3\nabc\r\n", "=", "sub 1,message a 3"},
		{"headers", "HPUB a 18 20\r\n" + hdr + "hi\r\nHPUB a _INBOX.n1.x 18 18\r\n" + hdr + "\r\n", "=", "message a 20,message a 18"},
		{"operations inside a payload", "PUB a 17\r\nPUB b evil 0\r\n\r\nX\r\nPING\r\n", "=", "message a 17"},
		{
			"foreign reply", "PING\r\nPUB a thor.role.x.y 2\r\nhi\r\nPING\r\n", "PING\r\nPUB a _R_.thor.role.x.y 0\r\n\r\nPING\r\n",
			"message a 2,refused reply",
		},
		{
			"foreign reply with headers", "HPUB a evil 18 20\r\n" + hdr + "hi\r\nPING\r\n", "PUB a _R_.evil 0\r\n\r\nPING\r\n",
			"message a 20,refused reply",
		},
		{"a good payload", "PUB whole _INBOX.n1.x 4\r\ngood\r\nPING\r\nHPUB whole 18 22\r\n" + hdr + "good\r\n", "=", "message whole 4,message whole 22"},
		{
			"bad payloads", "PUB whole 3\r\nbad\r\nPING\r\nHPUB whole _INBOX.n1.x 18 21\r\n" + hdr + "bad\r\nPUB whole 0\r\n\r\nPING\r\n",
			"PUB whole _R_.payload 0\r\n\r\nPING\r\nPUB whole _R_.payload 0\r\n\r\nPUB whole _R_.payload 0\r\n\r\nPING\r\n",
			"message whole 3,refused payload,message whole 21,refused payload,message whole 0,refused payload",
		},
		{
			"trace", "HPUB a 34 36\r\nNATS/1.0\r\nnAtS-TrAcE-Dest: foo\r\n\r\nhi\r\nPING\r\n", "PUB a _R_.nats-trace 0\r\n\r\nPING\r\n",
			"message a 36,refused trace",
		},
	} {
		if c.out == "=" {
			c.out = c.in
		}
		for size := 1; size <= len(c.in); size++ { // each split, and each pair of splits that are far apart
			j := &recorder{own: "_INBOX.n1."}
			f := filter{r: j}
			var got []byte
			for rest := c.in; rest != ""; {
				n := min(size, len(rest))
				out, err := f.feed([]byte(rest[:n]))
				if err != nil {
					t.Fatalf("%s, %d bytes a time: %v", c.name, size, err)
				}
				got = append(got, out...)
				f.slim()
				rest = rest[n:]
			}
			if log := strings.Join(j.log, ","); string(got) != c.out || log != c.log {
				t.Fatalf("%s, %d bytes a time:\n%q\n%q\n%s", c.name, size, got, c.out, log)
			}
		}
	}
}

func TestFilterEndsWhatItCannotRead(t *testing.T) {
	for in, want := range map[string]error{
		"GET / HTTP/1.1\r\n":               errOperation,
		"\r\n":                             errOperation,
		"\x00\n":                           errOperation,
		"INFO {}\r\n":                      errOperation,
		"-ERR 'x'\r\n":                     errOperation,
		"+OK\r\n":                          errOperation,
		"MSG a 1 0\r\n\r\n":                errOperation,
		"RPUB a 0\r\n":                     errOperation,
		"PUB\r\n":                          errOperation,
		"PUB a\r\n":                        errOperation,
		"PUB a -1\r\n":                     errOperation,
		"PUB a 1e3\r\n":                    errOperation,
		"PUB a b c 1\r\n":                  errOperation,
		"PUB a 0000000001\r\nx\r\n":        errOperation,
		"PUB a\rb 1\r\nx\r\n":              errOperation,
		"PUB a 1\r\nxx\r\n":                errOperation,
		"PUB a 1\r\nx\n\n":                 errOperation,
		"HPUB a 5\r\n":                     errOperation,
		"HPUB a 5 4\r\n":                   errOperation,
		"HPUB a 5 4 3 2 1 1\r\n":           errOperation,
		"SUB a\r\n":                        errOperation,
		"SUB a b c d\r\n":                  errOperation,
		"UNSUB\r\n":                        errOperation,
		"PING x\r\n":                       errOperation,
		"CONNECT {}\r\nCONNECT {}\r\n":     errConnect,
		"HPUB a 20000 20000\r\n":           errHeaders,
		"PUB " + strings.Repeat("a", 4100): errLine,
		"PUB " + strings.Repeat("a", 4100) + " 1\r\n": errLine,
	} {
		for size := range len(in) {
			f := filter{r: &recorder{}}
			_, err := f.feed([]byte(in[:size]))
			if err == nil {
				_, err = f.feed([]byte(in[size:]))
			}
			if !errors.Is(err, want) {
				t.Errorf("%.40q split at %d: %v, not %v", in, size, err, want)
				break
			}
		}
	}
	f := filter{r: &recorder{stop: 2}}
	if _, err := f.feed([]byte("PUB a 0\r\n\r\nPUB a 0\r\n\r\n")); !errors.Is(err, errStop) {
		t.Errorf("the policy's error: %v", err)
	}
}

func TestFilterHoldsLittle(t *testing.T) {
	f := filter{r: &recorder{}}
	payload := bytes.Repeat([]byte("x"), 1<<20)
	in := fmt.Appendf(nil, "PUB a %d\r\n%s\r\nPUB", len(payload), payload)
	n := testing.AllocsPerRun(10, func() {
		g := filter{r: f.r}
		if out, err := g.feed(in); err != nil || len(out) != len(in)-3 || &out[0] != &in[0] {
			t.Fatal(len(out), err)
		}
	})
	if n > 20 { // the recorder notes, the rest of a line is kept
		t.Errorf("%v allocations", n)
	}
	_, _ = f.feed(in)
	f.slim()
	if cap(f.out)+cap(f.line) > 512 {
		t.Errorf("%d and %d bytes held", cap(f.out), cap(f.line))
	}
}

func TestClassesAreThoseOfTheTable(t *testing.T) {
	names := []string{"thor", "role", "node", "status", "get", "_", "provisioning_server", "n1", "_INBOX", "_ANSWER", "x"}
	var walk func(s []string)
	walk = func(s []string) {
		if len(s) > 0 {
			subject := strings.Join(s, ".")
			want := numTraffic
			for _, l := range limits() {
				for _, m := range l.match {
					if want == numTraffic && matches(m, subject) {
						want = l.class
					}
				}
			}
			if got := classify([]byte(subject)); got != want {
				t.Errorf("%s: %s, in the table %s", subject, got, want)
			}
		}
		if len(s) < 5 {
			for _, n := range names {
				if len(s) < 2 || s[0] == "thor" || len(s) < 3 {
					walk(append(s[:len(s):len(s)], n))
				}
			}
		}
	}
	walk(nil)
	for i := range numTraffic {
		if limits()[i].class != i {
			t.Errorf("row %d is of %s", i, limits()[i].class)
		}
	}
}

func matches(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s) || token != "*" && token != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}
