package provisioning_test

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files of testdata instead of comparing with them")

// golden compares with a file of testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	end := func(s string) string { return s[max(0, at-200):min(len(s), at+200)] }
	t.Errorf("%s differs at byte %d: got\n…%s…\nwant\n…%s…", file, at, end(got), end(string(want)))
}

// What clients have generated from the WSDL stays valid: it changes by what is
// added on purpose only.
func TestWSDLIsTheGoldenOne(t *testing.T) {
	cfg := config(t, populated(t))
	cfg.URL = "https://ngnpro.example.net:9200"
	s := start(t, cfg)
	golden(t, "testdata/wsdl/NGNPro.wsdl", s.get(t, "/wsdl"))
	for _, port := range []string{"Sip", "Voicemail", "Enum", "Dns", "Customer", "Network"} {
		golden(t, "testdata/wsdl/"+port+".wsdl", s.get(t, "/"+port+"?wsdl"))
	}
}
