package soap_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"thor/provisioning/soap"
)

// decodedText is the number of bytes in the texts of a record, and of its values.
func decodedText(r *record) (text, values int) {
	texts := append([]string{r.Text, r.Inner.Name, string(r.Data)}, r.List...)
	if r.Maybe != nil {
		texts = append(texts, *r.Maybe)
	}
	if r.Other != nil {
		texts = append(texts, r.Other.Name)
	}
	if r.Records != nil {
		for _, x := range *r.Records {
			texts = append(texts, x.Name)
		}
	}
	for _, s := range texts {
		text += len(s)
	}
	return text, len(texts) + len(r.Numbers)
}

// Any bytes are read or refused with one of the two kinds of errors; what is read
// is bounded, however often references repeat it; and what is written of it reads
// the same.
func FuzzMessage(f *testing.F) {
	f.Add(wrap(soap.Response("urn:p", "urn:t", "op", full())), "")
	f.Add((&soap.Fault{Code: soap.Client, Name: "x"}).Envelope(), "utf-8")
	for _, call := range []string{
		`<op><record href="#a"/></op><x id="a"><list href="#a"/></x>`,
		`<op><param0><list>a</list><list>b</list><records><name/></records></param0></op>`,
		`<op><record><item><key>text</key><value>a</value></item><item><key>records</key><value><item><key>name</key><value>b</value></item></value></item></record></op>`,
		`<op><record><records enc:arrayType="x[2]"><item href="#a"/><item href="#a"/></records></record></op><y id="a"><name>n</name></y>`,
		`<op><record><text xsi:nil="1">a</text><number> 7 </number><price>1e3</price><flag>TRUE</flag><data>AP8K</data></record></op>`,
	} {
		f.Add([]byte(body(call)), "iso-8859-1")
	}
	files, err := filepath.Glob("testdata/requests/*.xml")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 4<<10 {
			f.Add(b, "")
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, charset string) {
		var c call
		if err := readAs(t, b, charset, &c); err != nil {
			var fault *soap.Fault
			var value *soap.ValueError
			if !errors.As(err, &fault) && !errors.As(err, &value) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		if text, values := decodedText(&c.Record); text > soap.MaxText || values > soap.MaxElements {
			t.Fatalf("%d bytes of text in %d values", text, values)
		}
		written := soap.Response("urn:p", "urn:t", "op", c.Record)
		if len(written) > soap.MaxMessage {
			return // an answer may be larger than a message
		}
		var again call
		if err := read(t, wrap(written), &again); err != nil {
			t.Fatalf("%v of %+v", err, c.Record)
		}
		if rewritten := soap.Response("urn:p", "urn:t", "op", again.Record); !bytes.Equal(written, rewritten) {
			t.Fatalf("written\n%s\nand again\n%s", written, rewritten)
		}
	})
}

// The login is read before anything vouches for the client.
func FuzzHeader(f *testing.F) {
	type auth struct {
		Username string `soap:"username"`
		Password string `soap:"password"`
		Admin    *bool  `soap:"admin"`
	}
	for _, h := range []string{
		`<auth><username>a</username><password>b</password><admin>1</admin></auth>`,
		`<auth href="#a"/><x id="a"><username href="#b"/></x><y id="b">n</y>`,
		`<auth><item><key>username</key><value>a</value></item></auth>`,
	} {
		f.Add([]byte(message("<e:Header>" + h + "</e:Header><e:Body><op/></e:Body>")))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := soap.Open(b, "")
		var fault *soap.Fault
		if err != nil && !errors.As(err, &fault) {
			t.Fatalf("an error of another kind: %v", err)
		}
		if err != nil {
			return
		}
		for _, h := range m.Header {
			var a auth
			var value *soap.ValueError
			if err := m.DecodeHeader(h, &a); err != nil && !errors.As(err, &value) {
				t.Fatalf("an error of another kind: %v", err)
			}
			if len(a.Username)+len(a.Password) > soap.MaxText {
				t.Fatal("too much text")
			}
		}
	})
}
