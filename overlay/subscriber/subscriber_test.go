package subscriber_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"thor/overlay/subscriber"
	"thor/subjects"
)

func TestSubscriberMessagesSurviveARoundTrip(t *testing.T) {
	s := &subscriber.Profile{V: 1, Key: "a@example.net", Revision: 7, Username: "a", Domain: "example.net", HA1: "00", Groups: []string{"pstn"}}
	if got, err := subscriber.ParseProfile(s.Encode()); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%+v %v", got, err)
	}
	n := &subscriber.Notice{V: 1, Key: "a@example.net", Revision: 7, From: "p1"}
	if got, err := subscriber.ParseNotice(n.Encode()); err != nil || !reflect.DeepEqual(got, n) {
		t.Errorf("%+v %v", got, err)
	}
	h := &subscriber.Handover{V: 1, Keys: []string{"a@example.net", "b@example.net"}}
	if got, err := subscriber.ParseHandover(h.Encode()); err != nil || !reflect.DeepEqual(got, h) {
		t.Errorf("%+v %v", got, err)
	}
	c := &subscriber.ChangedKeys{V: 1, Keys: []string{"a@example.net"}, Through: 9, Revisions: []uint64{8}}
	if got, err := subscriber.ParseChangedKeys(c.Encode()); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%+v %v", got, err)
	}
	l := &subscriber.Locations{V: 1, Contacts: map[string][]subscriber.Contact{"a@example.net": {{Address: "192.0.2.1", Port: 5060, Transport: "udp"}}}}
	if got, err := subscriber.ParseLocations(l.Encode()); err != nil || !reflect.DeepEqual(got, l) {
		t.Errorf("%+v %v", got, err)
	}
	st := &subscriber.Statistics{V: 1, Roles: map[subjects.Role]subscriber.RoleStatistics{"sip_proxy": {subscriber.OnlineAccounts: {"example.net": 3}}}}
	if got, err := subscriber.ParseStatistics(st.Encode()); err != nil || !reflect.DeepEqual(got, st) {
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
	if _, err := subscriber.ParseHandover((&subscriber.Handover{V: 1, Keys: keys(subscriber.MaxKeys)}).Encode()); err != nil {
		t.Errorf("%d keys: %v", subscriber.MaxKeys, err)
	}
	for what, err := range map[string]error{
		"too many keys": second(subscriber.ParseHandover((&subscriber.Handover{V: 1, Keys: keys(subscriber.MaxKeys + 1)}).Encode())),
		"too many locations": second(subscriber.ParseLocationsRequest(
			(&subscriber.LocationsRequest{V: 1, Keys: keys(subscriber.MaxLocationKeys + 1)}).Encode())),
		"a long key":      second(subscriber.ParseRequest((&subscriber.Request{V: 1, Key: strings.Repeat("a", subscriber.MaxKey) + "@b"}).Encode())),
		"no key":          second(subscriber.ParseNotice([]byte(`{"v":1,"from":"p1"}`))),
		"another version": second(subscriber.ParseProfile([]byte(`{"v":2,"key":"a@b"}`))),
		"nobody's notice": second(subscriber.ParseNotice([]byte(`{"v":1,"key":"a@b","from":"*"}`))),
		"a negative port": second(subscriber.ParseLocations([]byte(`{"v":1,"contacts":{"a@b":[{"port":-1}]}}`))),
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
		if s, err := subscriber.ParseProfile(b); err == nil {
			if again, err := subscriber.ParseProfile(s.Encode()); err != nil || again.Key != s.Key || again.Revision != s.Revision {
				t.Errorf("subscriber does not survive a round trip: %v", err)
			}
		} else if subjects.CodeOf(err) == "" {
			t.Errorf("error without code: %v", err)
		}
		_, _ = subscriber.ParseNotice(b)
		_, _ = subscriber.ParseHeld(b)
		_, _ = subscriber.ParseRequest(b)
		_, _ = subscriber.ParseChangesRequest(b)
		_, _ = subscriber.ParseChangedKeys(b)
		_, _ = subscriber.ParseHandover(b)
		_, _ = subscriber.ParseLocationsRequest(b)
		_, _ = subscriber.ParseLocations(b)
		_, _ = subscriber.ParseStatistics(b)
	})
}
