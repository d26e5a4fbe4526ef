package broker_test

import (
	"bytes"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/broker"
	"thor/broker/brokertest"
)

// attempts is a log that notes the greatest number of a failed attempt to reach
// another broker.
type attempts struct{ most atomic.Int32 }

func (a *attempts) Write(p []byte) (int, error) {
	if _, rest, ok := bytes.Cut(p, []byte("connect to route (attempt ")); ok {
		n, _, _ := bytes.Cut(rest, []byte(")"))
		if n, err := strconv.Atoi(string(n)); err == nil && int32(n) > a.most.Load() {
			a.most.Store(int32(n))
		}
	}
	return len(p), nil
}

// The pause between two attempts to reach another broker does not grow: a network
// that was cut for long joins as soon as one that was cut for a moment.
func TestAttemptsToReachAnotherBrokerDoNotBackOff(t *testing.T) {
	t.Parallel()
	n := brokertest.New(t)
	ports := brokertest.Ports(t, 2)
	var a attempts
	n.Add("b1", func(c *broker.Config) {
		c.ClusterListen = ports[0]
		c.Routes = []string{"tls://" + ports[0], "tls://" + ports[1]}
		c.Log = zerolog.New(&a).Level(zerolog.TraceLevel)
	})
	// With a pause that doubles the fifth attempt fails after 15 s.
	brokertest.Eventually(t, 13*time.Second, "six attempts", func() error {
		if n := a.most.Load(); n < 6 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
}
