package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thor/subjects"
)

// A mistake in the file of a name server is told: without its names the comparison would be of another zone.
func TestZoneOfAFileWithMistakesIsNotCompared(t *testing.T) {
	const network = "[network]\ndomain = \"example.net\"\nbrokers = [\"tls://127.0.0.1:4222\"]\ncertificate = \"a\"\nkey = \"b\"\nca = \"c\"\nstate = \"d\"\n"
	path := filepath.Join(t.TempDir(), "thor.toml")
	for text, want := range map[string]string{
		"[dns]\nlisten = [\"127.0.0.1:5353\"]\nslise = 3\n":        "slise",
		"[dns]\nlisten = [\"127.0.0.1:5353\"]\nslice = \"many\"\n": "slice",
		"[dns\n": "thor.toml",
	} {
		if err := os.WriteFile(path, []byte(network+text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := zoneOf(&reach{config: path}, &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 1})
		var usage usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := zoneOf(&reach{config: path}, &subjects.Status{V: 1, Domain: "example.net"}); err == nil {
		t.Error("a file that is not there")
	}
}
