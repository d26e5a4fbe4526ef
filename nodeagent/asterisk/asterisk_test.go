package asterisk_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thor/nodeagent/asterisk"
	"thor/nodeagent/asterisk/asterisktest"
	"thor/overlay/check"
)

const secret = "canary-7f3a"

func client(t *testing.T, f *asterisktest.Fake) (*asterisk.Client, string) {
	t.Helper()
	f.User, f.Password = "thor", secret
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := asterisk.New(srv.URL+"/ari", "thor", file, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, file
}

func fault(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	f := check.Explain(err)
	if text := fmt.Sprint(err, f.Text, f.Cause); strings.Contains(text, secret) || strings.Contains(text, "\n") {
		t.Errorf("%q", text)
	}
	return f.Text
}

func TestAsteriskTellsItsModulesAndChannels(t *testing.T) {
	f := &asterisktest.Fake{}
	f.Module("app_voicemail.so", "Running")
	f.Module("app_confbridge.so", "Not Running")
	f.SetChannels(3)
	c, _ := client(t, f)
	if got := fault(t, c.Ping(t.Context())); got != "" {
		t.Error(got)
	}
	for module, want := range map[string]string{
		"app_voicemail.so": "", "app_confbridge.so": "app_confbridge.so is loaded, but does not run", "app_queue.so": "app_queue.so is not loaded",
	} {
		if got := fault(t, c.Running(t.Context(), module)); got != want {
			t.Errorf("%s: %q", module, got)
		}
	}
	if n, err := c.Channels(t.Context()); n != 3 || err != nil {
		t.Error(n, err)
	}
}

func TestWhatAsteriskAnswersOddlyIsOneLine(t *testing.T) {
	f := &asterisktest.Fake{}
	c, file := client(t, f)
	for want, odd := range map[string]func(w http.ResponseWriter){
		"answered 500":                       func(w http.ResponseWriter) { w.WriteHeader(500) },
		"answered 403":                       func(w http.ResponseWriter) { w.WriteHeader(403) },
		"answered 302":                       func(w http.ResponseWriter) { w.Header().Set("Location", "http://192.0.2.1/"); w.WriteHeader(302) },
		"no valid answer":                    func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) },
		"answered something other than pong": func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"ping":"x"}`)) },
	} {
		f.Odd(odd)
		if got := fault(t, c.Ping(t.Context())); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	f.Odd(nil)
	if err := os.WriteFile(file, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := fault(t, c.Ping(t.Context())); got != "refuses the user and the password" {
		t.Errorf("%q", got)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := fault(t, c.Ping(t.Context())); got != "the password file cannot be read" {
		t.Errorf("%q", got)
	}
}

func TestAPasswordIsNotSentInTheClear(t *testing.T) {
	for location, ok := range map[string]bool{
		"http://127.0.0.1:8088/ari": true, "http://[::1]:8088/ari": true, "http://localhost:8088/ari": true, "https://192.0.2.1:8089/ari": true, "https://pbx.example.net/ari": true,
		"http://192.0.2.1:8088/ari": false, "http://pbx.example.net/ari": false, "http://thor:word@127.0.0.1/ari": false, "127.0.0.1:8088": false, "": false, "http://127.0.0.1/ari?api_key=x": false,
	} {
		if err := asterisk.CheckURL(location); (err == nil) != ok || err != nil && strings.Contains(err.Error(), "word@") {
			t.Errorf("%s: %v", location, err)
		}
	}
}
