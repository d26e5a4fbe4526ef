package subjects_test

import (
	"fmt"
	"strings"
	"testing"

	"thor/subjects"
)

// A hearing is taken as a manager says it, and what cannot be is refused.
func TestHearingsAreChecked(t *testing.T) {
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprintf(`"s%d":0`, i))
	}
	for text, code := range map[string]subjects.Code{
		`{"v":1,"nodes":9,"heard":6,"sites":{"ams":0,"fra":6}}`: "",
		`{"v":1,"nodes":0,"heard":0,"sites":{}}`:                "",
		`{"v":2,"nodes":9,"heard":6,"sites":{}}`:                subjects.CodeVersion,
		`{"v":1,"nodes":5,"heard":6,"sites":{}}`:                subjects.CodeRange,
		`{"v":1,"nodes":5,"heard":-1,"sites":{}}`:               subjects.CodeRange,
		`{"v":1,"nodes":9,"heard":6,"sites":{"ams":7}}`:         subjects.CodeRange,
		`{"v":1,"nodes":9,"heard":6,"sites":{"ams":-1}}`:        subjects.CodeRange,
		`{"v":1,"nodes":9,"heard":6,"sites":{"AMS":1}}`:         subjects.CodeName,
		`{"v":1,"nodes":9,"heard":6,"sites":{"":1}}`:            subjects.CodeName,
		`{"v":1,"nodes":9007199254740993,"heard":6,"sites":{}}`: subjects.CodeRange,
		`[]`: subjects.CodeJSON,
		`{"v":1,"sites":{` + strings.Join(many, ",") + `}}`: subjects.CodeRange,
	} {
		h, err := subjects.ParseHearing([]byte(text))
		if got := subjects.CodeOf(err); got != code || (h == nil) != (code != "") {
			t.Errorf("%.60s: %v, want %q", text, err, code)
		}
	}
	h := &subjects.Hearing{V: 1, Nodes: 9, Heard: 6, Sites: map[subjects.Site]int{"ams": 0, "fra": 6}}
	if h.Whole() || h.Hears("ams") || !h.Hears("fra") || h.Hears("lon") {
		t.Errorf("%+v is taken for whole, or hears what it does not", h)
	}
}
