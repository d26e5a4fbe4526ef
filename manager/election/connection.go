package election

import (
	"context"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// connection names the connection of now, "<broker>#<connection>" as
// announcements and DISCONNECT events do, or is empty without one.
//
// It asks nothing of the client library, which holds a lock while it connects
// again: for seconds, if the brokers that it tries do not answer, and a holder that
// stood still so long would lose its lease.
func (e *Election) connection() string {
	if via := e.via.Load(); via != nil {
		return *via
	}
	return ""
}

// follow keeps what connection returns, until ctx ends.
func (e *Election) follow(ctx context.Context) {
	nc := e.cfg.Conn
	changes := nc.StatusChanged(nats.CONNECTED, nats.DISCONNECTED, nats.RECONNECTING)
	e.setConnection(viaOf(nc))
	go func() {
		defer nc.RemoveStatusListener(changes)
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-changes:
				if s != nats.CONNECTED {
					e.setConnection("")
					continue
				}
				e.setConnection(viaOf(nc))
				select {
				case e.online <- struct{}{}:
				default:
				}
			}
		}
	}()
}

func (e *Election) setConnection(via string) { e.via.Store(&via) }

// viaOf names the connection that nc has now. It waits while nc connects again.
func viaOf(nc *nats.Conn) string {
	cid, err := nc.GetClientID()
	server := nc.ConnectedServerName()
	if err != nil || server == "" {
		return ""
	}
	return subjects.ViaOf(server, cid)
}
