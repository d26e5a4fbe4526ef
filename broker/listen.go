package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"syscall"
	"time"
	"unsafe"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// deferTime is how long the kernel keeps a connection to itself that has said
// nothing: those who speak TLS speak first. So silent connections cost the
// broker nothing while the kernel has room for them, and its queues are free
// for good ones. Later ones meet the limits of the front, or the sweep of the cluster port.
const deferTime = 10 * time.Second

func deferAccept(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, int(deferTime/time.Second)); err != nil {
		return fmt.Errorf("broker: defer silent connections: %w", err)
	}
	return nil
}

// listen opens the client port.
func listen(addr string) (net.Listener, error) {
	// nats-server's pings find dead peers, as on its own listener.
	control := func(_, _ string, c syscall.RawConn) error {
		var err error
		failed := c.Control(func(fd uintptr) { err = deferAccept(int(fd)) })
		return errors.Join(failed, err)
	}
	l, err := (&net.ListenConfig{KeepAlive: -1, Control: control}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return l, nil
}

var errNoListener = errors.New("broker: this nats-server has no such listener")

// giveListener makes s accept from l instead of opening a port, before it is
// started. nats-server takes a listener that it finds in this field, but has no
// way to put one there. The front knows whether it was taken.
func giveListener(s *server.Server, l net.Listener) error {
	f := reflect.ValueOf(s).Elem().FieldByName("listener")
	if !f.IsValid() || f.Type() != reflect.TypeFor[net.Listener]() {
		return errNoListener
	}
	*(*net.Listener)(unsafe.Pointer(f.UnsafeAddr())) = l
	return nil
}
