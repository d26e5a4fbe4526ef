package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"thor/cmd/thor/internal/doctor/gather"
	"thor/monitor/view"
	"thor/overlay"
	"thor/subjects"
)

const (
	reportWait  = 1500 * time.Millisecond // for a daemon's report
	agentsWait  = 300 * time.Millisecond  // for those of all processes of a node
	brokersWait = time.Second             // for the brokers
	mostAsked   = 64                      // name servers that are asked
)

// inspect fills in a of what an operator's certificate may ask. Daemons that are asked are
// asked at once.
func (s *session) inspect(ctx context.Context, a *view.Answer, st *subjects.Status) {
	var all sync.WaitGroup
	if a.Of.Brokers {
		all.Go(func() {
			var err error
			if a.Brokers, err = s.brokers(ctx, len(st.Roles[subjects.EventServer])); err != nil {
				a.BrokersFault = err.Error()
			}
		})
	}
	if a.Of.NameServers {
		ms := st.Roles[subjects.DNSManager]
		a.NameServers = make([]view.NameServer, min(len(ms), mostAsked))
		for i := range a.NameServers {
			all.Go(func() { a.NameServers[i] = s.nameServer(ctx, ms[i].Node) })
		}
	}
	if a.Of.Checks != "" {
		all.Go(func() {
			var err error
			if a.Checks, err = s.checks(ctx, a.Of.Checks, a.Of.Role); err != nil {
				a.ChecksFault = err.Error()
			}
		})
	}
	all.Wait()
}

// nameServer asks one name server.
func (s *session) nameServer(ctx context.Context, n subjects.NodeID) view.NameServer {
	ctx, cancel := context.WithTimeout(ctx, reportWait)
	defer cancel()
	x := view.NameServer{Node: n}
	r, err := s.Ask(ctx, subjects.Request(n, subjects.DNSManager, subjects.VerbReport), nil)
	if err == nil {
		x.Zone, err = zoneReport(r)
	}
	if err != nil {
		x.Fault = unreported(err)
	}
	return x
}

func zoneReport(r *subjects.Reply) (*subjects.ZoneReport, error) {
	p, err := reportOf(r)
	if err != nil {
		return nil, err
	}
	if p.Zone == nil {
		return nil, errors.New("it says nothing of its zone")
	}
	return p.Zone, nil
}

func reportOf(r *subjects.Reply) (*subjects.Report, error) {
	if r.Code != "" {
		return nil, errors.New(r.Text)
	}
	return subjects.ParseReport(r.Data)
}

// unreported says why a daemon reports nothing.
func unreported(err error) string {
	switch {
	case errors.Is(err, overlay.ErrNoResponders):
		return "it does not report: not running, or older than this program"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", reportWait)
	}
	return err.Error()
}

// checks asks the processes of a node that check the service of a role.
func (s *session) checks(ctx context.Context, n subjects.NodeID, role subjects.Role) (out []subjects.CheckReport, err error) {
	of := subjects.Agent
	if role == subjects.Database {
		of = string(role)
	}
	replies, err := s.AskAll(ctx, subjects.Request(n, subjects.Role(of), subjects.VerbReport), nil, agentsWait)
	if err != nil || len(replies) == 0 {
		if err == nil {
			err = overlay.ErrNoResponders
		}
		return nil, errors.New(unreported(err))
	}
	for _, r := range replies {
		p, err := reportOf(r)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Checks...)
	}
	return out, nil
}

// A pong is the part that counts of a broker's answer to a ping of the system account.
type pong struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Stats struct {
		Memory  int64   `json:"mem"`
		Clients int     `json:"connections"`
		In      traffic `json:"received"`
		Out     traffic `json:"sent"`
		Slow    int64   `json:"slow_consumers"`
		Routes  []struct {
			Name string `json:"name"`
		} `json:"routes"`
		JetStream *struct {
			Config struct {
				Limit int64 `json:"max_storage"`
			} `json:"config"`
			Stats struct {
				Stored uint64 `json:"storage"`
			} `json:"stats"`
			Meta *struct {
				Leader string `json:"leader"`
			} `json:"meta"`
		} `json:"jetstream"`
	} `json:"statsz"`
}

type traffic struct {
	Messages int64 `json:"msgs"`
}

// brokers pings all brokers, until so many have answered or brokersWait is over.
func (s *session) brokers(ctx context.Context, expected int) (out []view.Broker, err error) {
	nc := s.Conn()
	if nc == nil || !s.Connected() {
		return nil, overlay.ErrNotConnected
	}
	ctx, cancel := context.WithTimeout(ctx, brokersWait)
	defer cancel()
	asked := time.Now()
	err = gather.PingBrokers(ctx, nc, func(answer []byte) bool {
		if b, ok := brokerOf(answer, time.Since(asked)); ok {
			out = append(out, b)
		}
		return len(out) < max(1, expected)
	})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no broker answers %s within %s", gather.PingSubject, brokersWait)
	}
	return out, nil
}

// brokerOf reads a broker's answer, which came after took.
func brokerOf(data []byte, took time.Duration) (view.Broker, bool) {
	var p pong
	if json.Unmarshal(data, &p) != nil {
		return view.Broker{}, false
	}
	name, err := subjects.ParseNodeID(p.Server.Name)
	if err != nil {
		return view.Broker{}, false
	}
	count := func(n int64) uint64 { return uint64(max(0, n)) }
	b := view.Broker{
		Node: name, Clients: max(0, p.Stats.Clients),
		In: count(p.Stats.In.Messages), Out: count(p.Stats.Out.Messages), Slow: count(p.Stats.Slow), Memory: count(p.Stats.Memory), Took: took,
	}
	peers := make(map[string]bool)
	for _, r := range p.Stats.Routes { // several to each
		if r.Name != "" && r.Name != p.Server.Name {
			peers[r.Name] = true
		}
	}
	b.Peers = len(peers)
	if j := p.Stats.JetStream; j != nil {
		b.JetStream, b.Stored, b.Limit = true, j.Stats.Stored, count(j.Config.Limit)
		if j.Meta == nil {
			b.Leader = name // of itself alone
		} else if l, err := subjects.ParseNodeID(j.Meta.Leader); err == nil {
			b.Leader = l
		}
	}
	return b, true
}
