package provisioning_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Clients of other projects, against a server over TLS on a real database.

func runClient(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", argv[0], err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestPHPClientCallsEveryOperation(t *testing.T) {
	php := need(t, "php", "php-cli")
	if out := runClient(t, php, "-m"); !strings.Contains(out, "soap") {
		if os.Getenv("CI") == "true" {
			t.Fatal("ext-soap is missing: Debian package php-soap")
		}
		t.Skip("ext-soap is missing: Debian package php-soap")
	}
	s := start(t, config(t, emptyStore(t)))
	for _, how := range []string{"typed", "plain", "untyped"} {
		t.Run(how, func(t *testing.T) {
			out := runClient(t, php, "testdata/interop/all.php", s.url, s.ca, adminUser, adminPassword, how)
			if want := fmt.Sprintf("ok %d", operations(t, s)); out != want {
				t.Fatalf("%s, want %s", out, want)
			}
			if ks := s.pushed.taken(); len(ks) < 10 {
				t.Errorf("%d changes were handed on", len(ks))
			}
		})
	}
}

// operations is the number of them that the WSDL describes.
func operations(t *testing.T, s *running) int {
	t.Helper()
	return strings.Count(s.get(t, "/wsdl"), "<soap:operation ")
}

func TestZeepClientCallsEveryOperation(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.CommandContext(t.Context(), python, "-c", "import zeep").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("zeep is missing: Debian package python3-zeep")
		}
		t.Skip("zeep is missing: Debian package python3-zeep")
	}
	s := start(t, config(t, emptyStore(t)))
	for _, how := range []string{"dict", "element"} {
		t.Run(how, func(t *testing.T) {
			out := runClient(t, python, "testdata/interop/zeep_all.py", s.url, s.ca, adminUser, adminPassword, how)
			if want := fmt.Sprintf("ok %d", operations(t, s)); out != want {
				t.Fatalf("%s, want %s", out, want)
			}
		})
	}
}
