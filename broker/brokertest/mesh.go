package brokertest

import (
	"io"
	"net"
	"sync"
	"testing"

	"thor/broker"
)

// A Network is a cluster whose brokers reach each other over cables that a test
// can pull. Their clients reach them all the time.
type Network struct {
	*Net
	cables [][]*cable // from one broker to another
}

// Mesh is Cluster with cables. It takes three brokers or more.
func Mesh(t testing.TB, size int) *Network {
	t.Helper()
	n := &Network{Net: New(t)}
	ports := Ports(t, 2*size)
	for i := range size {
		n.cables = append(n.cables, make([]*cable, size))
		for j := range size {
			if i != j {
				n.cables[i][j] = newCable(t, ports[size+j])
			}
		}
	}
	for i := range size {
		n.Prepare("b"+string(rune('1'+i)), func(c *broker.Config) {
			c.Listen, c.ClusterListen = ports[i], ports[size+i]
			c.ClusterAdvertise = "127.0.0.1:1" // others know a broker by its cable, and by nothing else
			for j := range size {
				if i != j {
					c.Routes = append(c.Routes, "tls://"+n.cables[i][j].address)
				}
			}
		})
	}
	StartAll(n.Brokers...)
	n.AwaitJetStream(min(3, size))
	return n
}

// Isolate pulls the cables of one broker, or plugs them in again.
func (n *Network) Isolate(i int, cut bool) {
	for j := range n.cables {
		if j != i {
			n.cables[i][j].pull(cut)
			n.cables[j][i].pull(cut)
		}
	}
}

// A cable passes TCP connections on until it is pulled.
type cable struct {
	t               testing.TB
	address, target string

	mu     sync.Mutex
	l      net.Listener // nil: pulled
	conns  map[net.Conn]struct{}
	passes sync.WaitGroup
}

func newCable(t testing.TB, target string) *cable {
	t.Helper()
	c := &cable{t: t, target: target, address: Ports(t, 1)[0], conns: make(map[net.Conn]struct{})}
	c.pull(false)
	t.Cleanup(func() { c.pull(true); c.passes.Wait() })
	return c
}

// pull ends all connections and refuses new ones; or takes them again.
func (c *cable) pull(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cut == (c.l == nil) {
		return
	}
	if cut {
		_ = c.l.Close()
		c.l = nil
		for x := range c.conns {
			_ = x.Close()
		}
		return
	}
	l, err := net.Listen("tcp", c.address)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.l = l
	c.passes.Go(func() {
		for {
			x, err := l.Accept()
			if err != nil {
				return
			}
			c.passes.Go(func() { c.pass(l, x) })
		}
	})
}

func (c *cable) pass(l net.Listener, x net.Conn) {
	y, err := net.Dial("tcp", c.target)
	if err != nil {
		_ = x.Close()
		return
	}
	c.mu.Lock()
	if c.l != l { // pulled meanwhile
		_ = x.Close()
		_ = y.Close()
	}
	c.conns[x], c.conns[y] = struct{}{}, struct{}{}
	c.mu.Unlock()
	var both sync.WaitGroup
	for _, p := range [][2]net.Conn{{x, y}, {y, x}} {
		both.Go(func() {
			_, _ = io.Copy(p[0], p[1])
			_ = p[0].Close()
			_ = p[1].Close()
		})
	}
	both.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, x)
	delete(c.conns, y)
}
