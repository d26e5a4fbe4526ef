package broker_test

import (
	"net/url"
	"testing"

	"thor/broker/brokertest"
	"thor/subjects"
)

func TestBrokerAnnouncesItsPort(t *testing.T) {
	n := brokertest.Start(t)
	u, err := url.Parse(n.URLs()[0])
	if err != nil {
		t.Fatal(err)
	}
	sub, err := n.Dial("m1", subjects.Manager).SubscribeSync(subjects.AllPresences)
	if err != nil {
		t.Fatal(err)
	}
	m, err := sub.NextMsg(soon)
	if err != nil {
		t.Fatal(err)
	}
	a, err := subjects.ParseAnnouncement(m.Subject, m.Data)
	if err != nil || a.Role != subjects.EventServer || a.Attrs[subjects.AttrPort] != u.Port() {
		t.Errorf("announced %+v (%v), and listens at port %s", a, err, u.Port())
	}
}
