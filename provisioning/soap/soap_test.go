package soap_test

import (
	"encoding/xml"
	"reflect"
	"strings"
	"testing"

	"thor/provisioning/soap"
)

type inner struct {
	Name  string `soap:"name"`
	Value *int   `soap:"value"`
}

type record struct {
	Text    string   `soap:"text"`
	Maybe   *string  `soap:"maybe"`
	Number  int      `soap:"number"`
	Price   *float64 `soap:"price"`
	Flag    *bool    `soap:"flag"`
	Data    []byte   `soap:"data"`
	Inner   inner    `soap:"inner"`
	Other   *inner   `soap:"other"`
	List    []string `soap:"list"`
	Records *[]inner `soap:"records"`
	Serial  int      `soap:"serial,ro"`
	Numbers []int    `soap:"numbers"`
	Private string   // not on the wire
}

// A call has one parameter.
type call struct{ Record record }

func ptr[T any](v T) *T { return &v }

func full() record {
	return record{
		Text: "a <b> & \"c\" \u4e2d\r\n\t", Maybe: ptr(""), Number: -1 << 31, Price: ptr(1.25), Flag: ptr(true), Data: []byte{0, 255, 10},
		Inner: inner{"x", ptr(0)}, Other: &inner{Name: "y"}, List: []string{"", "b"}, Records: &[]inner{{"r", ptr(1)}}, Numbers: []int{1, 2},
	}
}

// wrap makes a call of what is in a response, so that what we write is read by us.
func wrap(response []byte) []byte {
	s := string(response)
	return []byte(strings.NewReplacer("<return", "<record", "</return>", "</record>", "opResponse", "op").Replace(s))
}

func read(t testing.TB, b []byte, c *call) error {
	t.Helper()
	return readAs(t, b, "", c)
}

func readAs(t testing.TB, b []byte, charset string, c *call) error {
	t.Helper()
	m, err := soap.Open(b, charset)
	if err != nil {
		return err
	}
	e, err := m.Body()
	if err != nil {
		return err
	}
	args, err := m.Decode(e, []soap.Param{{Name: "record", Type: reflect.TypeFor[record]()}})
	if err == nil {
		c.Record = *args[0].(*record)
	}
	return err
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	for name, r := range map[string]record{"full": full(), "zero": {Data: []byte{}, List: []string{}, Numbers: []int{}}} {
		var c call
		if err := read(t, wrap(soap.Response("urn:p", "urn:t", "op", r)), &c); err != nil {
			t.Fatal(name, err)
		}
		if c.Record.Data == nil {
			c.Record.Data = []byte{}
		}
		if !reflect.DeepEqual(c.Record, r) {
			t.Errorf("%s: read %+v\nwrote %+v", name, c.Record, r)
		}
	}
}

func TestReadOnlyFieldsAreWrittenAndNotRead(t *testing.T) {
	b := soap.Response("urn:p", "urn:t", "op", record{Serial: 7})
	if !strings.Contains(string(b), `<serial xsi:type="xsd:int">7</serial>`) {
		t.Errorf("%s", b)
	}
	var c call
	if err := read(t, wrap(b), &c); err != nil || c.Record.Serial != 0 {
		t.Errorf("%v %d", err, c.Record.Serial)
	}
}

func TestFaultSaysItAllAndNothingMore(t *testing.T) {
	f := &soap.Fault{Code: soap.Client, Name: "Bad<Name", Number: 1011, Text: "a & b"}
	var env struct {
		Code   string `xml:"Body>Fault>faultcode"`
		String string `xml:"Body>Fault>faultstring"`
		Number int    `xml:"Body>Fault>detail>exception>errorcode"`
		Text   string `xml:"Body>Fault>detail>exception>errorstring"`
	}
	if err := xml.Unmarshal(f.Envelope(), &env); err != nil {
		t.Fatal(err)
	}
	if env.Code != "SOAP-ENV:Client" || env.String != "Bad<Name" || env.Number != 1011 || env.Text != "a & b" {
		t.Errorf("%+v", env)
	}
	// With a type there, ext-soap puts another object between.
	if strings.Contains(string(f.Envelope()), "xsi:type") {
		t.Error("the detail has types")
	}
}

func TestWhatXMLCannotHoldIsReplaced(t *testing.T) {
	b := soap.Response("urn:p", "urn:t", "op", record{Text: "a\x00b\x1f\xff\ufffe"})
	var c call
	if err := read(t, wrap(b), &c); err != nil || c.Record.Text != "a\ufffdb\ufffd\ufffd\ufffd" {
		t.Errorf("%q %v", c.Record.Text, err)
	}
}

func BenchmarkDecodeEncode(b *testing.B) {
	doc := wrap(soap.Response("urn:p", "urn:t", "op", full()))
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		var c call
		if err := read(b, doc, &c); err != nil {
			b.Fatal(err)
		}
		if len(soap.Response("urn:p", "urn:t", "op", c.Record)) == 0 {
			b.Fatal("nothing")
		}
	}
}
