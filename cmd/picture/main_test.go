package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

func TestALineIsRunsOfOneStyle(t *testing.T) {
	got := runs("plain\x1b[1;31m red\x1b[0m \x1b[38;5;208mo\x1b[48;2;1;2;3mb\x1b[7mr\x1b[K\x1b[39;49;27;22mend")
	want := []run{
		{"plain", style{}},
		{" red", style{fore: "#e06c75", bold: true}},
		{" ", style{}},
		{"o", style{fore: "#ff8700"}},
		{"b", style{fore: "#ff8700", back: "#010203"}},
		{"r", style{fore: "#010203", back: "#ff8700", reverse: true}},
		{"end", style{}},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

// Whatever a terminal shows, the picture is XML, with each screen visible in its time.
func FuzzPictureIsXML(f *testing.F) {
	f.Add("a <b> & \"c\"\n\x1b[31m◐ x\x1b[0m", "second")
	f.Add("\x1b[", "\x1b[38;5m")
	f.Fuzz(func(t *testing.T, a, b string) {
		if !printable(a + b) {
			t.Skip()
		}
		d := xml.NewDecoder(strings.NewReader(animate([][]string{strings.Split(a, "\n"), {b}})))
		for {
			if _, err := d.Token(); err == io.EOF {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// printable leaves out what is no character of XML above the controls.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r == 0xfffd || r == 0xfffe || r == 0xffff })
}
