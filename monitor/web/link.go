package web

import (
	"context"
	"sync"
	"time"

	"thor/subjects"
)

// How name servers are asked.
const (
	serialEvery = 3 * time.Second // while a page is open
	serialWait  = 2 * time.Second
	serialsMost = 32 // name servers that are asked
)

// A link is how well this process hears the network, now. A stream tells it each
// second, and with that it is a sign of life.
type link struct {
	Now         time.Time    `json:"now"`
	Connected   bool         `json:"connected"` // to a broker
	Broker      string       `json:"broker"`
	BrokerAlone bool         `json:"broker_alone"`
	Stale       bool         `json:"stale"`     // no active manager confirms the status
	FromDisk    bool         `json:"from_disk"` // the status is of an earlier run
	Confirmed   time.Time    `json:"confirmed,omitzero"`
	NameServers []nameServer `json:"name_servers"`
}

// A nameServer is what one said when it was asked last.
type nameServer struct {
	Node   string  `json:"node"`
	Serial uint32  `json:"serial"`
	Millis float64 `json:"ms"`
	Error  string  `json:"error,omitempty"`
}

func (h *hub) link(now time.Time) link {
	v := h.view.Load()
	l := link{
		Now: now, Connected: v.Connected, BrokerAlone: v.BrokerAlone, Stale: v.Stale, FromDisk: v.FromDisk, Confirmed: h.cfg.Network.Confirmed(),
		Broker: subjects.Printable(h.cfg.Broker(), 63), NameServers: []nameServer{},
	}
	if p := h.serials.Load(); p != nil {
		l.NameServers = *p
	}
	return l
}

// askSerials asks the name servers again and again while a page is open.
func (h *hub) askSerials(ctx context.Context, watched func() bool) {
	if h.cfg.Serial == nil {
		return
	}
	tick := time.NewTicker(serialEvery)
	defer tick.Stop()
	for {
		if st := h.view.Load().Status; st != nil && watched() {
			h.serials.Store(h.askAll(ctx, st))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.opened:
		}
	}
}

func (h *hub) askAll(ctx context.Context, st *subjects.Status) *[]nameServer {
	members := st.Roles[subjects.DNSManager]
	out := make([]nameServer, min(len(members), serialsMost))
	var asked sync.WaitGroup
	for i := range out {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, serialWait)
			defer cancel()
			began := time.Now()
			serial, err := h.cfg.Serial(ctx, &members[i], st.Domain)
			out[i] = nameServer{Node: string(members[i].Node), Serial: serial, Millis: float64(time.Since(began).Microseconds()) / 1000}
			if err != nil {
				out[i].Error = subjects.Printable(err.Error(), subjects.MaxReason)
			}
		})
	}
	asked.Wait()
	return &out
}
