package subjects_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"thor/subjects"
)

func TestSubscriberMessagesSurviveARoundTrip(t *testing.T) {
	s := &subjects.Subscriber{V: 1, Key: "a@example.net", Revision: 7, Username: "a", Domain: "example.net", HA1: "00", Groups: []string{"pstn"}}
	if got, err := subjects.ParseSubscriber(s.Encode()); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%+v %v", got, err)
	}
	n := &subjects.SubscriberNotice{V: 1, Key: "a@example.net", Revision: 7, From: "p1"}
	if got, err := subjects.ParseSubscriberNotice(n.Encode()); err != nil || !reflect.DeepEqual(got, n) {
		t.Errorf("%+v %v", got, err)
	}
	h := &subjects.HandoverNotice{V: 1, Keys: []string{"a@example.net", "b@example.net"}}
	if got, err := subjects.ParseHandoverNotice(h.Encode()); err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("%+v %v", got, err)
	}
	c := &subjects.ChangedKeys{V: 1, Keys: []string{"a@example.net"}, Through: 9, Revisions: []uint64{8}}
	if got, err := subjects.ParseChangedKeys(c.Encode()); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v %v", got, err)
	}
	l := &subjects.Locations{V: 1, Contacts: map[string][]subjects.Contact{"a@example.net": {{Address: "192.0.2.1", Port: 5060, Transport: "udp"}}}}
	if got, err := subjects.ParseLocations(l.Encode()); err != nil || !reflect.DeepEqual(got, l) {
		t.Errorf("%+v %v", got, err)
	}
	st := &subjects.NodeStatistics{V: 1, Roles: map[subjects.Role]subjects.RoleStatistics{"sip_proxy": {subjects.OnlineAccounts: {"example.net": 3}}}}
	if got, err := subjects.ParseNodeStatistics(st.Encode()); err != nil || !reflect.DeepEqual(got, st) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestSubscriberMessagesHaveLimits(t *testing.T) {
	keys := func(n int) (ks []string) {
		for i := range n {
			ks = append(ks, fmt.Sprintf("%d@example.net", i))
		}
		return ks
	}
	if _, err := subjects.ParseHandoverNotice((&subjects.HandoverNotice{V: 1, Keys: keys(subjects.MaxKeys)}).Encode()); err != nil {
		t.Errorf("%d keys: %v", subjects.MaxKeys, err)
	}
	for what, err := range map[string]error{
		"too many keys": second(subjects.ParseHandoverNotice((&subjects.HandoverNotice{V: 1, Keys: keys(subjects.MaxKeys + 1)}).Encode())),
		"too many locations": second(subjects.ParseLocationsRequest(
			(&subjects.LocationsRequest{V: 1, Keys: keys(subjects.MaxLocationKeys + 1)}).Encode())),
		"a long key":      second(subjects.ParseSubscriberRequest((&subjects.SubscriberRequest{V: 1, Key: strings.Repeat("a", subjects.MaxKey) + "@b"}).Encode())),
		"no key":          second(subjects.ParseSubscriberNotice([]byte(`{"v":1,"from":"p1"}`))),
		"another version": second(subjects.ParseSubscriber([]byte(`{"v":2,"key":"a@b"}`))),
		"nobody's notice": second(subjects.ParseSubscriberNotice([]byte(`{"v":1,"key":"a@b","from":"*"}`))),
		"a negative port": second(subjects.ParseLocations([]byte(`{"v":1,"contacts":{"a@b":[{"port":-1}]}}`))),
	} {
		if subjects.CodeOf(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzParseAboutSubscribers(f *testing.F) {
	f.Add([]byte(`{"v":1,"key":"a@b","revision":3,"from":"p1","keys":["a@b"],"contacts":{"a@b":[{"address":"\u0007"}]},"roles":{"sip_proxy":{"online_accounts":{"b":1},"x":{"b":-1}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := subjects.ParseSubscriber(b); err == nil {
			if again, err := subjects.ParseSubscriber(s.Encode()); err != nil || again.Key != s.Key || again.Revision != s.Revision {
				t.Errorf("subscriber does not survive a round trip: %v", err)
			}
		} else if subjects.CodeOf(err) == "" {
			t.Errorf("error without code: %v", err)
		}
		_, _ = subjects.ParseSubscriberNotice(b)
		_, _ = subjects.ParseSubscriberHeld(b)
		_, _ = subjects.ParseSubscriberRequest(b)
		_, _ = subjects.ParseChangesRequest(b)
		_, _ = subjects.ParseChangedKeys(b)
		_, _ = subjects.ParseHandoverNotice(b)
		_, _ = subjects.ParseLocationsRequest(b)
		_, _ = subjects.ParseLocations(b)
		_, _ = subjects.ParseNodeStatistics(b)
	})
}
