package subjects_test

import (
	"testing"

	"thor/subjects"
)

func TestALinkNamesABrokerAndAConnection(t *testing.T) {
	good := subjects.Link{V: 1, Boot: "m1-4711", Via: "b1#17"}
	l, err := subjects.ParseLink(good.Encode())
	if err != nil || l.Broker() != "b1" || l.Connection() != 17 || *l != good {
		t.Errorf("%+v, %v", l, err)
	}
	for name, x := range map[string]string{
		"another version":   `{"v":2,"boot":"x","via":"b1#17"}`,
		"no process":        `{"v":1,"via":"b1#17"}`,
		"no connection":     `{"v":1,"boot":"x","via":"b1"}`,
		"connection 0":      `{"v":1,"boot":"x","via":"b1#0"}`,
		"no number":         `{"v":1,"boot":"x","via":"b1#x"}`,
		"no broker":         `{"v":1,"boot":"x","via":"#17"}`,
		"a broker no name":  `{"v":1,"boot":"x","via":"b1.get#17"}`,
		"a boot no text":    `{"v":1,"boot":"\u001b[2J","via":"b1#17"}`,
		"not JSON":          `b1#17`,
		"number above 2^64": `{"v":1,"boot":"x","via":"b1#99999999999999999999"}`,
	} {
		if l, err := subjects.ParseLink([]byte(x)); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
}
