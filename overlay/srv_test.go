package overlay

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"thor/broker/brokertest"
)

// port is the port of a URL as an SRV record has it.
func port(t *testing.T, url string) uint16 {
	t.Helper()
	p, err := strconv.ParseUint(url[strings.LastIndexByte(url, ':')+1:], 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(p)
}

// The list of SRV is asked for again when all its brokers have failed, also when
// there was none at first.
func TestBrokersOfADomainAreLookedUpAnewWhenAllFail(t *testing.T) {
	brokers := brokertest.Start(t)
	live, dead := port(t, brokers.URLs()[0]), port(t, brokertest.Ports(t, 1)[0])
	n, err := New(Config{Credentials: brokers.Credentials("n1", "sip_proxy"), Brokers: []string{"srv:example.net"}})
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	n.conn.brokers.lookupSRV = func(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
		if service != "eventserver" || proto != "tcp" || name != "example.net" {
			t.Errorf("asks for _%s._%s.%s", service, proto, name)
		}
		switch asked.Add(1) {
		case 1:
			return "", nil, errors.New("no such host")
		case 2:
			return "", []*net.SRV{{Target: "."}}, nil
		case 3, 4:
			return "", []*net.SRV{{Target: "127.0.0.1.", Port: dead}}, nil
		}
		return "", []*net.SRV{{Target: "127.0.0.1.", Port: dead}, {Target: "127.0.0.1.", Port: live}}, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	select {
	case <-n.Ready():
	case <-time.After(20 * time.Second):
		t.Errorf("not connected, asked %d times", asked.Load())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
