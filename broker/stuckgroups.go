package broker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// stuckAfter is how long the group of a bucket may have no leader although most of its brokers are here. An
// election takes 4 to 9 s; no manager trusts a lease that it could not renew for so long.
const stuckAfter = 20 * time.Second

// bucketGroup is how a broker sees the raft group of a bucket of which it has a copy.
type bucketGroup struct {
	stream string
	raft   string   // name of the raft group; a stream that is made anew has another one
	leader string   // empty: none
	size   int      // brokers of the group
	here   []string // those of them that routes lead to, and this one; only if there is no leader
}

// stuckGroups finds the groups of buckets that will never have a leader again. A bucket lives in memory: the
// copy of a broker whose JetStream started anew is empty, and nats-server elects no leader with the vote of an empty
// copy while one broker of the group is missing, since that one may hold what the empty copy has lost. With one
// broker gone for good and another one restarted no manager would ever get a lease. Managers can rebuild what is in a
// bucket, so such a bucket is deleted, and made anew where the brokers are.
type stuckGroups struct {
	since map[string]time.Time // by name of the raft group
}

// due are the streams that self should delete now. Of the brokers of a group that are here the first one by name
// does it. A group most of whose brokers are elsewhere may have its leader there: it is left alone.
func (g *stuckGroups) due(now time.Time, self string, groups []bucketGroup) []string {
	was := g.since
	g.since = make(map[string]time.Time)
	var streams []string
	for _, is := range groups {
		if is.leader != "" || 2*len(is.here) <= is.size {
			continue
		}
		since, ok := was[is.raft]
		if !ok {
			since = now
		}
		g.since[is.raft] = since
		if now.Sub(since) >= stuckAfter && slices.Min(is.here) == self {
			streams = append(streams, is.stream)
		}
	}
	return streams
}

// bucketGroups are the groups of buckets that s has a copy of.
func bucketGroups(s *server.Server) []bucketGroup {
	z, err := s.Jsz(&server.JSzOptions{Account: AccountMembers, Streams: true})
	if err != nil {
		return nil
	}
	routes := remoteNames(s) // nats-server itself calls a broker offline minutes after it died, and never for a cut route
	var groups []bucketGroup
	for _, a := range z.AccountDetails {
		for _, d := range a.Streams {
			bucket := slices.ContainsFunc(buckets, func(b bucket) bool { return b.stream() == d.Name })
			if !bucket || d.Cluster == nil || len(d.Cluster.Replicas) == 0 {
				continue
			}
			is := bucketGroup{stream: d.Name, raft: d.Cluster.RaftGroup, leader: d.Cluster.Leader, size: len(d.Cluster.Replicas)}
			for _, p := range d.Cluster.Replicas {
				if p.Name == s.Name() || routes[p.Name] {
					is.here = append(is.here, p.Name)
				}
			}
			groups = append(groups, is)
		}
	}
	slices.SortFunc(groups, func(a, b bucketGroup) int { return cmp.Compare(a.stream, b.stream) })
	return groups
}

// endStuck deletes buckets whose groups are stuck, while JetStream as a whole has a leader to do it.
func (b *Broker) endStuck(ctx context.Context, s *server.Server, js jetstream.JetStream, stuck *stuckGroups) {
	if !s.JetStreamIsClustered() || jetStreamState(s) != JetStreamOK {
		stuck.since = nil
		return
	}
	for _, stream := range stuck.due(time.Now(), s.Name(), bucketGroups(s)) {
		b.log.Error().Str("stream", stream).Dur("after", stuckAfter).
			Msg("a bucket has had no leader although most of its brokers are here: a copy was lost; making it anew")
		ctx, cancel := context.WithTimeout(ctx, bucketWait)
		if err := js.DeleteStream(ctx, stream); err != nil {
			b.log.Warn().Err(err).Str("stream", stream).Msg("the bucket is not known to be deleted, looking again")
		}
		cancel()
	}
}
