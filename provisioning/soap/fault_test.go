package soap_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"thor/provisioning/soap"
)

const envelope = "http://schemas.xmlsoap.org/soap/envelope/"

// message is an envelope with this content.
func message(content string) string {
	return `<e:Envelope xmlns:e="` + envelope + `" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:enc="http://schemas.xmlsoap.org/soap/encoding/">` +
		content + `</e:Envelope>`
}

func body(call string) string { return message("<e:Body>" + call + "</e:Body>") }

// Each message is refused with a fault, whatever is read of it before.
func TestMessagesThatAreNone(t *testing.T) {
	attributes := make([]string, soap.MaxAttrs+1)
	for i := range attributes {
		attributes[i] = fmt.Sprintf(`a%d=""`, i)
	}
	for name, c := range map[string]struct{ message, want string }{
		"empty":                    {"", "there is no message"},
		"blank":                    {" \r\n", "there is no message"},
		"no XML":                   {"GET / HTTP/1.1", "the root is not a SOAP envelope"},
		"another root":             {"<html/>", "the root is not a SOAP envelope"},
		"SOAP 1.2":                 {`<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"/>`, "VersionMismatch"},
		"no namespace":             {"<Envelope><Body><op/></Body></Envelope>", "VersionMismatch"},
		"cut in a name":            {"<e:Envel", "line 1"},
		"cut in the header":        {`<e:Envelope xmlns:e="` + envelope + `"><e:Header><a>`, "line 1"},
		"not UTF-8":                {body("<op>\xff</op>"), "line 1"},
		"unknown entity":           {body("<op>&x;</op>"), "line 1"},
		"tags crossed":             {body("<op><a></op></a>"), "line 1"},
		"a NUL":                    {body("<op>\x00</op>"), "line 1"},
		"document type":            {"<!DOCTYPE x []>" + body("<op/>"), "a document type declaration is not allowed"},
		"document type late":       {message("<!DOCTYPE x []><e:Body><op/></e:Body>"), "a document type declaration is not allowed"},
		"processing instruction":   {body("<?php echo 1 ?><op/>"), "a processing instruction is not allowed"},
		"declaration late":         {message(`<?xml version="1.0"?><e:Body><op/></e:Body>`), "a processing instruction is not allowed"},
		"text in the envelope":     {message("x<e:Body><op/></e:Body>"), "text where an element belongs"},
		"no body":                  {message(""), "one Body"},
		"header only":              {message("<e:Header/>"), "one Body"},
		"header last":              {message("<e:Body><op/></e:Body><e:Header/>"), "something follows the body"},
		"two headers":              {message("<e:Header/><e:Header/><e:Body><op/></e:Body>"), "one Body"},
		"body elsewhere":           {`<e:Envelope xmlns:e="` + envelope + `"><Body><op/></Body></e:Envelope>`, "one Body"},
		"two bodies":               {message("<e:Body><op/></e:Body><e:Body/>"), "something follows the body"},
		"two envelopes":            {body("<op/>") + body("<op/>"), "something follows the envelope"},
		"text at the end":          {body("<op/>") + "x", "something follows the envelope"},
		"body that is empty":       {body(""), "it names no operation"},
		"nothing but references":   {body(`<multiRef id="a"/><x enc:root="0"/>`), "it names no operation"},
		"must be understood":       {message(`<e:Header><x e:mustUnderstand="1"/></e:Header><e:Body><op/></e:Body>`), "must be understood"},
		"must be understood, next": {message(`<e:Header><x e:mustUnderstand="true" e:actor="http://schemas.xmlsoap.org/soap/actor/next"/></e:Header><e:Body><op/></e:Body>`), "must be understood"},
		"deep":                     {body(strings.Repeat("<a>", soap.MaxDepth) + strings.Repeat("</a>", soap.MaxDepth)), "nested deeper than 32"},
		"many elements":            {body("<op>" + strings.Repeat("<a/>", soap.MaxElements) + "</op>"), "more than 20000 elements"},
		"many in the header":       {message("<e:Header>" + strings.Repeat("<a/>", 260) + "</e:Header><e:Body><op/></e:Body>"), "more than 256 elements"},
		"many attributes":          {body("<op " + strings.Join(attributes, " ") + "/>"), "more than 64 attributes"},
		"attribute twice":          {body(`<op a="1" a="2"/>`), "an attribute twice"},
		"id twice":                 {body(`<op><a id="x"/><b id="x"/></op>`), "the same id"},
		"large":                    {body("<op>" + strings.Repeat("x", soap.MaxMessage) + "</op>"), "larger than 256 KiB"},
	} {
		err := read(t, []byte(c.message), &call{})
		var f *soap.Fault
		if !errors.As(err, &f) || !strings.Contains(f.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestFaultsHaveTheirHTTPStatus(t *testing.T) {
	for name, c := range map[string]struct {
		message, charset string
		status           int
	}{
		"malformed": {"<a/>", "", 500},
		"large":     {strings.Repeat("x", soap.MaxMessage+1), "", 413},
		"charset":   {body("<op/>"), "koi8-r", 415},
	} {
		var f *soap.Fault
		if err := readAs(t, []byte(c.message), c.charset, &call{}); !errors.As(err, &f) || f.HTTPStatus() != c.status || f.Code != soap.Client {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A header block that need not be understood, or not by this server, is ignored.
func TestOtherHeaderBlocksAreIgnored(t *testing.T) {
	for _, h := range []string{
		`<x/>`, `<x e:mustUnderstand="0"/>`, `<x e:mustUnderstand="1" e:actor="urn:another"/>`, `<auth e:mustUnderstand="1"/>`,
	} {
		if err := read(t, []byte(message("<e:Header>"+h+"</e:Header><e:Body><op/></e:Body>")), &call{}); err != nil {
			t.Errorf("%s: %v", h, err)
		}
	}
}

// Each value is refused with its path and a reason, and without the value.
func TestValuesThatAreNone(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	for name, c := range map[string]struct{ call, path, want string }{
		"text for a struct":      {"<record>secret</record>", "record", "has text where elements belong"},
		"text beside elements":   {"<record>secret<text>a</text></record>", "record", "has text where elements belong"},
		"text in an inner one":   {"<record><inner>secret</inner></record>", "record.inner", "has text where elements belong"},
		"elements for a value":   {"<record><text><b>secret</b></text></record>", "record.text", "has elements where a value belongs"},
		"twice":                  {"<record><text>a</text><text>secret</text></record>", "record.text", "is there twice"},
		"number":                 {"<record><number>secret</number></record>", "record.number", "is not a whole number of 32 bits"},
		"fraction":               {"<record><number>1.5</number></record>", "record.number", "is not a whole number of 32 bits"},
		"over 32 bits":           {"<record><number>2147483648</number></record>", "record.number", "is not a whole number of 32 bits"},
		"hexadecimal":            {"<record><number>0x10</number></record>", "record.number", "is not a whole number of 32 bits"},
		"price":                  {"<record><price>secret</price></record>", "record.price", "is not a number"},
		"infinite":               {"<record><price>INF</price></record>", "record.price", "is not a number"},
		"no number":              {"<record><price>NaN</price></record>", "record.price", "is not a number"},
		"flag":                   {"<record><flag>secret</flag></record>", "record.flag", "is not true or false"},
		"base64":                 {"<record><data>*secret*</data></record>", "record.data", "is not base64"},
		"number in a list":       {"<record><numbers><item>1</item><item>secret</item></numbers></record>", "record.numbers[1]", "is not a whole number of 32 bits"},
		"text in a list":         {"<record><records>secret</records></record>", "record.records", "has text where elements belong"},
		"record in a list":       {"<record><records><item><value>secret</value></item></records></record>", "record.records[0].value", "is not a whole number of 32 bits"},
		"reference to nothing":   {`<record><inner href="#none"/></record>`, "record.inner", "refers to something that is not in the message"},
		"reference elsewhere":    {`<record><inner href="http://example.net/x"/></record>`, "record.inner", "refers to something that is not in the message"},
		"circle":                 {`<record><inner href="#a"/></record><x id="a" href="#b"/><y id="b" href="#a"/>`, "record.inner", "refers in a circle"},
		"itself":                 {`<record href="#a" id="a"/>`, "record", "refers in a circle"},
		"many values":            {`<record><records>` + strings.Repeat(`<item href="#a"/>`, 7000) + `</records></record><x id="a"><name>n</name><value>1</value></x>`, "", "too many values"},
		"text by reference":      {`<record><list>` + strings.Repeat(`<item href="#a"/>`, 200) + `</list></record><x id="a">` + long + `</x>`, "", "too much text"},
		"blanks by reference":    {`<record><list>` + strings.Repeat(`<item href="#a"/>`, 200) + `</list></record><x id="a">` + strings.Repeat(" ", 100<<10) + `</x>`, "", "too much text"},
		"by position":            {"<param0><number>secret</number></param0>", "record.number", "is not a whole number of 32 bits"},
		"PHP's map of a number":  {"<record><item><key>number</key><value>secret</value></item></record>", "record.number", "is not a whole number of 32 bits"},
		"a key with two values":  {"<record><item><key>text</key><value>a</value></item><item><key>text</key><value>b</value></item></record>", "record.text", "is there twice"},
		"number out of all size": {"<record><number>" + strings.Repeat("9", 10_000) + "</number></record>", "record.number", "is not a whole number of 32 bits"},
	} {
		err := read(t, []byte(body("<op>"+c.call+"</op>")), &call{})
		var v *soap.ValueError
		if !errors.As(err, &v) || c.path != "" && v.Path != c.path || !strings.Contains(v.Text, c.want) {
			t.Errorf("%s: %v, want %s: %s", name, err, c.path, c.want)
		} else if strings.Contains(v.Error(), "secret") {
			t.Errorf("%s: the error repeats the value: %v", name, err)
		}
	}
}

func TestCharsets(t *testing.T) {
	doc := func(declared, text string) string {
		if declared != "" {
			declared = `<?xml version="1.0" encoding="` + declared + `"?>`
		}
		return declared + body("<op><record><text>"+text+"</text></record></op>")
	}
	for name, c := range map[string]struct{ message, transport, want string }{
		"none":                           {doc("", "café"), "", "café"},
		"byte order mark":                {"\xef\xbb\xbf" + doc("UTF-8", "café"), "", "café"},
		"byte order mark, by transport":  {"\xef\xbb\xbf" + doc("", "café"), "utf-8", "café"},
		"UTF-8 in capitals":              {doc("UTF-8", "café"), "UTF8", "café"},
		"ASCII":                          {doc("us-ascii", "cafe"), "ASCII", "cafe"},
		"Latin-1 by the transport":       {doc("", "caf\xe9"), "ISO-8859-1", "café"},
		"Latin-1 by the declaration":     {doc("iso-8859-1", "caf\xe9 \xff"), "", "café ÿ"},
		"the transport goes first":       {doc("utf-8", "caf\xe9"), "latin1", "café"},
		"the transport, other way round": {doc("iso-8859-1", "café"), "utf-8", "café"},
		"more than a buffer":             {doc("latin1", strings.Repeat("\xe9", 5000)), "", strings.Repeat("é", 5000)},
	} {
		var v call
		if err := readAs(t, []byte(c.message), c.transport, &v); err != nil || v.Record.Text != c.want {
			t.Errorf("%s: %.60q, %v", name, v.Record.Text, err)
		}
	}
	for name, c := range map[string]struct{ message, transport, want string }{
		"UTF-16 by the transport":   {doc("", "a"), "utf-16", "UnsupportedCharset"},
		"UTF-16 by the declaration": {doc("utf-16", "a"), "", "UnsupportedCharset"},
		"UTF-7":                     {doc("utf-7", "+ADw-"), "", "UnsupportedCharset"},
		"Latin-1 as UTF-8":          {doc("", "caf\xe9"), "", "MalformedMessage"},
	} {
		var f *soap.Fault
		if err := readAs(t, []byte(c.message), c.transport, &call{}); !errors.As(err, &f) || f.Name != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
