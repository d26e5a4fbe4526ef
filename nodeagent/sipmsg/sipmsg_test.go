package sipmsg_test

import (
	"bufio"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"

	"thor/nodeagent/sipmsg"
)

const options = "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5070;branch=z9hG4bKa\r\n" +
	"From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: c\r\nCSeq: 7 OPTIONS\r\n"

func TestReadFindsTheMessagesOfAStream(t *testing.T) {
	r := bufio.NewReaderSize(strings.NewReader("\r\n\r\n"+options+"Content-Length: 5\r\n\r\nhello"+
		"\r\n\r\n"+options+"\r\n"+"SIP/2.0 200 OK\r\nCSeq: 8 OPTIONS\r\n\r\n"), 16)
	for i := range 2 {
		m, err := sipmsg.Read(r)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if q, ok := m.(*sip.Request); !ok || q.Method != sip.OPTIONS || q.CSeq().SeqNo != 7 {
			t.Errorf("message %d: %v", i, m)
		}
	}
	m, err := sipmsg.Read(r)
	if a, ok := m.(*sip.Response); err != nil || !ok || a.StatusCode != 200 || a.CSeq().SeqNo != 8 {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := sipmsg.Read(r); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestReadRefusesWhatIsNoMessage(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"http":                {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", sipmsg.ErrNotSIP},
		"another version":     {strings.Replace(options, "SIP/2.0\r", "SIP/3.0\r", 1) + "\r\n", sipmsg.ErrNotSIP},
		"no colon":            {options + "nonsense\r\n\r\n", sipmsg.ErrNotSIP},
		"bare line feeds":     {strings.ReplaceAll(options, "\r\n", "\n") + "\n", io.ErrUnexpectedEOF},
		"head that ends":      {options, io.ErrUnexpectedEOF},
		"endless line":        {strings.Repeat("a", 1<<20), sipmsg.ErrNotSIP},
		"endless headers":     {options + strings.Repeat("X: y\r\n", 1<<17), sipmsg.ErrNotSIP},
		"body that is short":  {options + "Content-Length: 9\r\n\r\nhello", io.ErrUnexpectedEOF},
		"body of 4 GB":        {options + "Content-Length: 4294967295\r\n\r\n", sipmsg.ErrNotSIP},
		"length not a number": {options + "Content-Length: -1\r\n\r\n", sipmsg.ErrNotSIP},
		"binary":              {"\x16\x03\x01\x00\xff\r\n\r\n\x00\r\n\r\n", sipmsg.ErrNotSIP},
	} {
		if _, err := sipmsg.Read(bufio.NewReader(strings.NewReader(c.in))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestParseSetsNoMemoryAsideForABodyThatIsNotThere(t *testing.T) {
	b := []byte(options + "Content-Length: 4294967295\r\n\r\n")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		if _, err := sipmsg.Parse(b); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 10<<20 {
		t.Errorf("100 messages took %d bytes", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(options + "\r\n"))
	f.Add([]byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP [::1]:5060;rport=1;received=::1, SIP/2.0/TCP x\r\nf: <sip:a>\r\nt: b\r\n\r\n"))
	f.Add([]byte("OPTIONS sip:[::1]:5060;transport=tcp?a=b SIP/2.0\r\nv: SIP/2.0/UDP x\r\n y\r\nm: *\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := sipmsg.Parse(b)
		if err != nil {
			if !errors.Is(err, sipmsg.ErrNotSIP) {
				t.Errorf("%v", err)
			}
			return
		}
		_ = m.String()
	})
}
