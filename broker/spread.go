package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thor/subjects"
)

const (
	spreadEvery  = 10 * time.Second       // between two looks at where copies lie
	spreadAnswer = 500 * time.Millisecond // for all brokers to say where they are
)

// pingServers asks all brokers what they are.
const pingServers = "$SYS.REQ.SERVER.PING"

// A copyAt is a copy of a stream.
type copyAt struct {
	broker string
	leads  bool
	whole  bool // it has all that was written
}

// surplus is the broker whose copy is to move to another site; empty: none. site has the
// brokers with JetStream that answer now, by name. A copy moves only while all are whole, so that
// there is a majority whatever happens to the one that moves, and of two that share a site
// the one that does not lead.
func surplus(copies []copyAt, site map[string]string) string {
	used := make(map[string]bool)
	for _, c := range copies {
		if !c.whole || site[c.broker] == "" {
			return ""
		}
		used[site[c.broker]] = true
	}
	room := false
	for _, s := range site {
		room = room || s != "" && !used[s]
	}
	if !room {
		return ""
	}
	copies = slices.SortedFunc(slices.Values(copies), func(a, b copyAt) int {
		if a.leads != b.leads {
			return map[bool]int{true: -1, false: 1}[a.leads]
		}
		return cmp.Compare(a.broker, b.broker)
	})
	seen := make(map[string]bool)
	for _, c := range copies {
		if seen[site[c.broker]] {
			return c.broker
		}
		seen[site[c.broker]] = true
	}
	return ""
}

// spread moves one copy of one stream to a site that has none, if two lie in one site. The
// broker that leads JetStream does it: what it configures decides where copies go. nats-server
// makes the new copy before it ends the old one. refused says that it moved none the last time,
// which was told.
func (b *Broker) spread(ctx context.Context, js jetstream.JetStream, own *nats.Conn, refused *bool) {
	streams := []string{subjects.HistoryStream}
	for _, k := range buckets {
		streams = append(streams, k.stream())
	}
	var site map[string]string
	from := make(map[string]string) // by stream: the broker whose copy is to move
	for _, name := range streams {
		copies, err := copiesOf(ctx, js, name)
		if err != nil || len(copies) < bucketCopies || slices.ContainsFunc(copies, func(c copyAt) bool { return !c.whole }) {
			return // one at a time: what moves is to be whole first
		}
		if site == nil {
			if site, err = jetStreamSites(ctx, own); err != nil {
				b.log.Debug().Err(err).Msg("sites of brokers")
				return
			}
		}
		if s := surplus(copies, site); s != "" {
			from[name] = s
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(from)) {
		err := evacuate(ctx, own, name, from[name])
		if err == nil {
			b.log.Info().Str("stream", name).Str("peer", from[name]).Str("site", site[from[name]]).Msg("moving a copy to another site")
			*refused = false
			return
		}
		errs = append(errs, fmt.Errorf("%s from %s: %w", name, from[name], err))
	}
	if err := errors.Join(errs...); err != nil && !*refused {
		b.log.Warn().Err(err).Msg("copies cannot move to another site, retrying")
	}
	*refused = len(errs) > 0
}

// copiesOf are the copies of a stream.
func copiesOf(ctx context.Context, js jetstream.JetStream, name string) ([]copyAt, error) {
	ctx, cancel := context.WithTimeout(ctx, bucketWait)
	defer cancel()
	s, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	c := s.CachedInfo().Cluster
	if c == nil || c.Leader == "" {
		return nil, errors.New("no leader")
	}
	copies := []copyAt{{broker: c.Leader, leads: true, whole: true}}
	for _, r := range c.Replicas {
		copies = append(copies, copyAt{broker: r.Name, whole: r.Current && !r.Offline})
	}
	if len(copies) != s.CachedInfo().Config.Replicas {
		return nil, errors.New("copies come or go")
	}
	return copies, nil
}

// jetStreamSites are the sites of the brokers with JetStream that answer, by name.
func jetStreamSites(ctx context.Context, own *nats.Conn) (map[string]string, error) {
	inbox := own.NewInbox()
	sub, err := own.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	if err := own.PublishRequest(pingServers, inbox, nil); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, spreadAnswer)
	defer cancel()
	out := make(map[string]string)
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return out, nil // all that came
		}
		var r struct {
			Server server.ServerInfo `json:"server"`
		}
		if json.Unmarshal(m.Data, &r) != nil || !r.Server.JetStreamEnabled() {
			continue
		}
		for _, t := range r.Server.Tags {
			if at, ok := strings.CutPrefix(t, siteTag); ok {
				out[r.Server.Name] = at
			}
		}
	}
}

// evacuate has JetStream move a stream's copy off a broker, to one that it chooses.
func evacuate(ctx context.Context, own *nats.Conn, stream, peer string) error {
	ctx, cancel := context.WithTimeout(ctx, rescueAnswer)
	defer cancel()
	body, err := json.Marshal(server.JSApiStreamEvacuatePeerRequest{Peer: peer})
	if err != nil {
		return err
	}
	m, err := own.RequestWithContext(ctx, fmt.Sprintf(server.JSApiStreamEvacuatePeerT, stream), body)
	if err != nil {
		return err
	}
	var r server.JSApiStreamEvacuatePeerResponse
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return err
	}
	if r.Error != nil {
		return errors.New(r.Error.Description)
	}
	return nil
}
