package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = string(content)
	}
}

// Canaries in each form in which a secret may come: none is in the archive.
func TestNoSecretIsInABundle(t *testing.T) {
	b := New()
	b.Secret([]byte("CANARY-file\n"))
	b.Secret([]byte("-----BEGIN PRIVATE KEY-----\nCANARYkeyLineOne\nCANARYkeyLineTwo\n-----END PRIVATE KEY-----\n"))
	b.Secret([]byte("key \"transfer.example.net\" {\n\talgorithm hmac-sha256;\n\tsecret \"CANARYtsigFile/abc+012345678901234567890=\";\n};\n"))
	b.AddConfig("thor.toml", []byte("# the old password was CANARY-comment\n[network]\ndomain = \"example.net\" # CANARY-trailing\nkey = \"/etc/thor/pki/node.key\"\n"+
		"[database]\nuri = \"mysql://thor:CANARY-dsn@192.0.2.1/thor\"\npassword = \"CANARY-value\"\npassword_file = \"/run/password\"\n"+
		"[[node.role]]\nrole = \"sip_proxy\"\nattrs = { api_token = \"CANARY-attr\", site = \"ams\" }\nkamailio = \"http://admin:CANARY-rpc@127.0.0.1:5060/RPC\"\n"+
		"pin_secret = 77123456\n[[node.role.check]]\nkind = \"command\"\ncommand = [\"/usr/bin/probe\", \"--password\", \"CANARY-argument\", \"-pCANARY-p\"]\n"+
		"[credentials]\nname = \"CANARY-below\"\n"))
	b.AddConfig("broken.toml", []byte("password = CANARY-unquoted"))
	b.Add("log", []byte("connect thor:CANARY-go@tcp(192.0.2.1:3306)/thor\nconnect thor:x@y\"CANARY-at@tcp(192.0.2.1:3306)/thor\npassword = 'one CANARY-two'\n\"secret\":\"a\\\"CANARY-escaped\"\n{\"error\":\"he said {\\\"token\\\":\\\"CANARY nested\\\"}\"}\ntoken=abc,CANARY-comma\nmysql://thor:CANARY:@x@192.0.2.1/thor\npassword=CANARY-equals\n\"ha1\":\"CANARY-json\", node=n1\n"+
		"signed by CANARYtsigFile/abc+012345678901234567890= of transfer.example.net\nkey x { algorithm hmac-sha256; secret \"CANARYtsigLine==\"; };\n; <<>> DiG -y hmac-sha256:transfer:CANARYdig= @192.0.2.1\nPrivateKey: CANARYdnssec=\n"+
		"Authorization: Basic CANARYbasic==\nCANARY-file was wrong\nread CANARYkeyLineTwo\n-----BEGIN EC PRIVATE KEY-----\nCANARYcut"))
	archive, err := b.Archive("thor-bundle", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, archive)
	for name, text := range files {
		if strings.Contains(text, "CANARY") || strings.Contains(text, "77123456") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
	for name, wants := range map[string][]string{
		"thor-bundle/thor.toml":   {"example.net", "mysql://thor:xxxxxx@192.0.2.1/thor", "/run/password", "/etc/thor/pki/node.key", "ams", "admin:xxxxxx@127.0.0.1:5060/RPC", "/usr/bin/probe"},
		"thor-bundle/broken.toml": {"left out"},
		"thor-bundle/log":         {"thor:xxxxxx@tcp(192.0.2.1:3306)/thor", "node=n1", "xxxxxx was wrong", "signed by xxxxxx of transfer.example.net", "-y hmac-sha256:transfer:xxxxxx @192.0.2.1"},
	} {
		for _, want := range wants {
			if !strings.Contains(files[name], want) {
				t.Errorf("%q is not in %s:\n%s", want, name, files[name])
			}
		}
	}
}

func TestWhatIsNoSecretStays(t *testing.T) {
	b := New()
	b.Secret([]byte("abc\n")) // too short to be looked for
	const text = "abc tls://192.0.2.1:4222 user@example.net sip:alice@example.net 192.0.2.1:5060 node1 lost 4 min ago\n"
	b.Add("x", []byte(text))
	archive, err := b.Archive("d", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got := unpack(t, archive)["d/x"]; got != text {
		t.Errorf("%q", got)
	}
}
