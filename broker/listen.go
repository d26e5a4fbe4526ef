package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"unsafe"

	"github.com/nats-io/nats-server/v2/server"
)

// listen opens the client port.
func listen(addr string) (net.Listener, error) {
	// nats-server's pings find dead peers, as on its own listener.
	l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return l, nil
}

var errNoListener = errors.New("broker: this nats-server takes no listener")

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
