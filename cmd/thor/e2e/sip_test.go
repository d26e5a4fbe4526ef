//go:build e2e

package e2e_test

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A wiretap sees every REGISTER that reaches port 5060 on loopback.
type wiretap struct {
	fd   int
	stop chan struct{}
	done chan struct{}
	err  error // once done

	mu    sync.Mutex
	flows map[string][]string // Call-ID → addresses, in order, each packet
}

func tapLoopback(t *testing.T) *wiretap {
	t.Helper()
	const ip = unix.ETH_P_IP<<8&0xff00 | unix.ETH_P_IP>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, ip)
	if err != nil {
		t.Fatalf("listen on loopback: %v", err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ip, Ifindex: lo.Index}))
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{fd: fd, stop: make(chan struct{}), done: make(chan struct{}), flows: make(map[string][]string)}
	go w.listen()
	t.Cleanup(func() { w.end(t) })
	return w
}

// end says so if a packet was missed.
func (w *wiretap) end(t *testing.T) {
	select {
	case <-w.stop:
		return
	default:
	}
	close(w.stop)
	<-w.done
	if s, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err != nil || s.Drops > 0 || w.err != nil {
		t.Errorf("the wiretap missed packets: %+v, %v, %v", s, err, w.err)
	}
	unix.Close(w.fd)
}

func (w *wiretap) listen() {
	defer close(w.done)
	b := make([]byte, 65536)
	for {
		select {
		case <-w.stop:
			return
		default:
		}
		n, from, err := unix.Recvfrom(w.fd, b, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			w.err = err
			return
		default:
			if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_HOST {
				w.packet(b[:n])
			}
		}
	}
}

func (w *wiretap) packet(b []byte) {
	if len(b) < 28 || b[9] != unix.IPPROTO_UDP {
		return
	}
	udp := b[int(b[0]&15)*4:]
	if len(udp) < 8 || binary.BigEndian.Uint16(udp[2:]) != 5060 || !bytes.HasPrefix(udp[8:], []byte("REGISTER ")) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	id := sipHeader(string(udp[8:]), "Call-ID")
	w.flows[id] = append(w.flows[id], net.IP(b[16:20]).String())
}

// take returns what was seen since the last time.
func (w *wiretap) take() map[string][]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.flows
	w.flows = make(map[string][]string)
	return out
}

func sipHeader(msg, name string) string {
	for l := range strings.Lines(msg) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// A subscriber is an account, and whose it is.
type subscriber struct {
	name, password, owner string
	entry                 string // the node it registers through
}

const sipDomain = "example.com"

func (s *subscriber) key() string { return s.name + "@" + sipDomain }

// scenario registers: the first answer to expect, then the final one after the
// credentials ("" if the first ends it).
func scenario(first, final string) string {
	request := func(seq int, more string) string {
		return fmt.Sprintf(`<send retrans="500"><![CDATA[
    REGISTER sip:[field1] SIP/2.0
    Via: SIP/2.0/UDP [local_ip]:[local_port];rport;branch=[branch]
    Max-Forwards: 70
    From: <sip:[field0]@[field1]>;tag=[pid]t[call_number]
    To: <sip:[field0]@[field1]>
    Call-ID: [call_id]
    CSeq: %d REGISTER
    Contact: <sip:[field0]@[local_ip]:[local_port]>
    Expires: 300
    User-Agent: SIPp
    %sContent-Length: 0

  ]]></send>
`, seq, more)
	}
	s := "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"register\">\n" + request(1, "") +
		"<recv response=\"100\" optional=\"true\"></recv>\n"
	if final == "" {
		return s + fmt.Sprintf("<recv response=%q></recv>\n</scenario>\n", first)
	}
	return s + fmt.Sprintf("<recv response=%q auth=\"true\"></recv>\n", first) + request(2, "[field2]\n    ") +
		"<recv response=\"100\" optional=\"true\"></recv>\n" + fmt.Sprintf("<recv response=%q></recv>\n</scenario>\n", final)
}

// A sipp runs SIPp from one address.
type sipp struct {
	dir, bin, from string
	port           int
	registers      int // transactions that were answered as expected
}

// register has SIPp register each subscriber through its entry, and fails the
// test unless every one gets the answers.
func (p *sipp) register(t *testing.T, what string, subs []subscriber, first, final string) {
	t.Helper()
	began := time.Now()
	byEntry := make(map[string][]subscriber)
	for _, s := range subs {
		byEntry[s.entry] = append(byEntry[s.entry], s)
	}
	var wg sync.WaitGroup
	for i, entry := range slices.Sorted(maps.Keys(byEntry)) {
		wg.Go(func() { p.run(t, what, i, entry, byEntry[entry], first, final) })
	}
	wg.Wait()
	p.registers += len(subs)
	if final != "" {
		p.registers += len(subs)
	}
	t.Logf("%6d ms  %d subscribers get %s %s: %s", time.Since(began).Milliseconds(), len(subs), first, final, what)
}

func (p *sipp) run(t *testing.T, what string, i int, entry string, subs []subscriber, first, final string) {
	dir, err := os.MkdirTemp(p.dir, "run-")
	if err != nil {
		t.Error(err)
		return
	}
	csv := "SEQUENTIAL\n"
	for _, s := range subs {
		csv += fmt.Sprintf("%s;%s;[authentication username=%s password=%s]\n", s.name, sipDomain, s.name, s.password)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "users.csv"), []byte(csv), 0o600),
		os.WriteFile(filepath.Join(dir, "register.xml"), []byte(scenario(first, final)), 0o600)); err != nil {
		t.Error(err)
		return
	}
	n := strconv.Itoa(len(subs))
	cmd := exec.Command(p.bin, entry+":5060", "-sf", "register.xml", "-inf", "users.csv", "-m", n, "-l", n, "-r", "100",
		"-i", p.from, "-p", strconv.Itoa(p.port+i), "-recv_timeout", "8000", "-timeout", "20s", "-timeout_error", "-nostdin",
		"-trace_err", "-trace_msg", "-message_file", "messages.log", "-error_file", "errors.log")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		e, _ := os.ReadFile(filepath.Join(dir, "errors.log"))
		t.Errorf("%s through %s: sipp: %v\n%.3000s\n%s", what, entry, err, e, out[max(0, len(out)-1500):])
	}
}

// A registrant registers one request at a time, to measure.
type registrant struct {
	conn *net.UDPConn
	seq  int
}

func newRegistrant(t *testing.T, from string) *registrant {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &registrant{conn: c}
}

// register returns the final status, with credentials if there was a challenge.
func (p *registrant) register(t *testing.T, s subscriber) string {
	t.Helper()
	p.seq++
	a := p.ask(t, s, 1, "")
	c := sipHeader(a, "WWW-Authenticate")
	if c == "" {
		return a[8:11]
	}
	param := func(name string) string {
		_, v, _ := strings.Cut(c, name+"=\"")
		v, _, _ = strings.Cut(v, "\"")
		return v
	}
	ha2 := md5hex("REGISTER:sip:" + sipDomain)
	response := md5hex(md5hex(s.name+":"+param("realm")+":"+s.password) + ":" + param("nonce") + ":" + ha2)
	a = p.ask(t, s, 2, fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=\"sip:%s\", response=%q\r\n",
		s.name, param("realm"), param("nonce"), sipDomain, response))
	return a[8:11]
}

func (p *registrant) ask(t *testing.T, s subscriber, cseq int, more string) string {
	t.Helper()
	local := p.conn.LocalAddr().String()
	q := fmt.Sprintf("REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKp%dx%d\r\nMax-Forwards: 70\r\nFrom: <sip:%s>;tag=p\r\nTo: <sip:%s>\r\n"+
		"Call-ID: phone%d@%s\r\nCSeq: %d REGISTER\r\nContact: <sip:%s@%s>\r\nExpires: 300\r\n%sContent-Length: 0\r\n\r\n",
		sipDomain, local, p.seq, cseq, s.key(), s.key(), p.seq, local, cseq, s.name, local, more)
	if _, err := p.conn.WriteToUDP([]byte(q), &net.UDPAddr{IP: net.ParseIP(s.entry), Port: 5060}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8192)
	_ = p.conn.SetReadDeadline(time.Now().Add(4 * time.Second))
	for {
		n, err := p.conn.Read(b)
		if err != nil {
			t.Fatalf("%s does not answer %s: %v", s.entry, s.name, err)
		}
		if a := string(b[:n]); sipHeader(a, "CSeq") == fmt.Sprintf("%d REGISTER", cseq) && !strings.HasPrefix(a, "SIP/2.0 1") &&
			strings.HasPrefix(sipHeader(a, "Call-ID"), fmt.Sprintf("phone%d@", p.seq)) {
			return a
		}
	}
}

func md5hex(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
