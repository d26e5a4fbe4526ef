package broker_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"thor/broker/brokertest"
)

// openssl runs `openssl s_client` at the first broker. It says text once it is
// connected, and ends when it has heard until, or with the connection.
func openssl(t *testing.T, n *brokertest.Net, text, until string, args ...string) (heard string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", append([]string{"s_client", "-connect", n.Brokers[0].Config.Listen, "-ign_eof"}, args...)...)
	cmd.Stdin = strings.NewReader(text)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the connection failed, or it was ended here
		_ = w.Close()
		close(ended)
	}()
	var all bytes.Buffer
	for s := bufio.NewReader(r); ; {
		line, err := s.ReadString('\n')
		if all.WriteString(line); err != nil {
			break
		}
		if until != "" && strings.Contains(line, until) {
			cancel()
		}
	}
	<-ended
	return all.String()
}

// What an operator sees who looks at the client port with openssl and by hand.
func TestWhatOpenSSLSeesAtTheClientPort(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("openssl is not installed")
		}
		t.Skip("openssl is not installed")
	}
	n := brokertest.Start(t)
	f := n.Files("n1", "sip_proxy")
	const verified = "Verify return code: 0 (ok)"
	for _, c := range []struct {
		what, text, until string
		args              []string
		want, never       []string
	}{
		{
			"without a certificate", "", "",
			[]string{"-CAfile", f.CA, "-showcerts"},
			[]string{"-----BEGIN CERTIFICATE-----", "O = " + brokertest.Domain, "OU = thor_eventserver", verified, "Acceptable client certificate CA names", "alert certificate required"},
			[]string{"INFO {"},
		},
		{
			"with one, and a question", "CONNECT {}\r\nPING\r\n", "PONG",
			[]string{"-CAfile", f.CA, "-cert", f.Cert, "-key", f.Key},
			[]string{"O = " + brokertest.Domain, verified, `INFO {"tls_required":true,`, "PONG"},
			[]string{"alert"},
		},
		{
			"with one, and nonsense", "GET / HTTP/1.0\r\n\r\n", "",
			[]string{"-CAfile", f.CA, "-cert", f.Cert, "-key", f.Key},
			[]string{verified, "INFO {", "-ERR 'unknown protocol operation'"},
			nil,
		},
		{
			"without the authority", "", "INFO {",
			[]string{"-cert", f.Cert, "-key", f.Key},
			[]string{"O = " + brokertest.Domain, "INFO {"},
			[]string{verified},
		},
		{"an old protocol", "", "", []string{"-CAfile", f.CA, "-tls1_2"}, []string{"alert protocol version", "no peer certificate available"}, []string{"INFO {"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			heard := openssl(t, n, c.text, c.until, c.args...)
			for _, s := range c.want {
				if !strings.Contains(heard, s) {
					t.Errorf("%q is not in", s)
				}
			}
			for _, s := range c.never {
				if strings.Contains(heard, s) {
					t.Errorf("%q is in", s)
				}
			}
			if t.Failed() {
				t.Log(heard)
			}
		})
	}
	// Without TLS: who says something is told what is missing; who waits for an INFO, as
	// clients do that are not told to begin with TLS, gets none, and the end.
	for text, want := range map[string]string{
		"CONNECT {}\r\nPING\r\n": "-ERR 'Secure Connection - TLS Required'\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n": "-ERR 'Secure Connection - TLS Required'\r\n", "\r\n": "-ERR 'Secure Connection - TLS Required'\r\n", "": "",
	} {
		c, err := net.Dial("tcp", n.Brokers[0].Config.Listen)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(c, text)
		got, err := io.ReadAll(c)
		if string(got) != want || err != nil {
			t.Errorf("%q in clear: %q %v", text, got, err)
		}
		_ = c.Close()
	}
}
