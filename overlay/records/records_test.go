package records_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"thor/overlay/records"
	"thor/subjects"
)

func list(lines ...string) *records.List {
	return &records.List{V: subjects.Version, Revision: 7, Records: lines}
}

func TestAListComesBackAsItWas(t *testing.T) {
	l := list("a.example.net. 60 IN A 192.0.2.1", `b.example.net. 60 IN TXT "x"`)
	got, err := records.Parse(l.Encode())
	if err != nil || !reflect.DeepEqual(got, l) {
		t.Errorf("%+v, %v", got, err)
	}
	for have, same := range map[uint64]bool{0: false, 6: false, 7: true, 8: true} {
		a := l.Answer(have)
		if a.Same != same || a.Revision != 7 || (len(a.Records) == 0) != same {
			t.Errorf("to an asker that has %d: %+v", have, a)
		}
	}
	r, err := records.ParseRequest((&records.Request{V: subjects.Version, Have: 7}).Encode())
	if err != nil || r.Have != 7 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTheLargestListFitsAMessage(t *testing.T) {
	lines := make([]string, records.Max)
	for i := range lines {
		lines[i] = strings.Repeat(`"`, records.MaxText/records.Max)
	}
	if !records.Fits(lines) {
		t.Fatal("does not fit")
	}
	b := list(lines...).Encode()
	if _, err := records.Parse(b); err != nil {
		t.Error(err)
	}
	if len(b) > subjects.MaxPayload-1024 {
		t.Errorf("%d bytes", len(b))
	}
	for what, bad := range map[string][]string{
		"many":  make([]string, records.Max+1),
		"long":  {strings.Repeat("x", records.MaxLine+1)},
		"large": slices.Repeat([]string{strings.Repeat("x", records.MaxLine)}, records.MaxText/records.MaxLine+1),
	} {
		if records.Fits(bad) {
			t.Errorf("%s fits", what)
		}
		if _, err := records.Parse(list(bad...).Encode()); err == nil {
			t.Errorf("%s is parsed", what)
		}
	}
}

func TestBadMessagesAreRefused(t *testing.T) {
	for _, b := range []string{"", "{", `{"v":2}`, `{}`, `[]`, `{"v":1,"have":9007199254740993,"revision":9007199254740993}`} {
		if _, err := records.Parse([]byte(b)); err == nil {
			t.Errorf("list %q", b)
		}
		if _, err := records.ParseRequest([]byte(b)); err == nil {
			t.Errorf("request %q", b)
		}
	}
}
