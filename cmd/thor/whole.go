package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"thor/subjects"
)

// missing are the members that were there and are not: what a restart waits for.
func missing(before, now *subjects.Status) (out []string) {
	for _, r := range before.RoleNames() {
		for _, m := range before.Roles[r] {
			is := now.Member(r, m.Node)
			switch {
			case is == nil:
				out = append(out, fmt.Sprintf("%s of %s is not back", r, m.Node))
			case m.State == subjects.Up && is.State != subjects.Up:
				out = append(out, fmt.Sprintf("%s of %s is %s", r, m.Node, is.State))
			}
		}
	}
	return out
}

// brokersApart are the brokers of a status that do not reach all others, or whose
// JetStream cannot be used: another one must not be restarted then.
func brokersApart(s *subjects.Status) (out []string) {
	all := s.Roles[subjects.EventServer]
	for _, m := range all {
		if js := m.Attrs[subjects.AttrJetStream]; js != "" && js != "ok" {
			out = append(out, fmt.Sprintf("JetStream of %s: %s", m.Node, subjects.Printable(js, 20)))
		}
		if _, known := m.Attrs.Peers(); !known {
			if len(all) > 1 && m.Attrs[subjects.AttrRoutes] == "0" {
				out = append(out, fmt.Sprintf("%s has no route", m.Node))
			}
			continue
		}
		for _, o := range all {
			if o.Node != m.Node && !m.Attrs.HasPeer(o.Node) {
				out = append(out, fmt.Sprintf("%s has no route to %s", m.Node, o.Node))
			}
		}
	}
	return out
}

// A streamState is of JetStream's answer about a stream what says whether a broker may
// go: brokers keep it in memory, and one that has just started has to copy it.
type streamState struct {
	Cluster *struct {
		Leader   string `json:"leader"`
		Replicas []struct {
			Name    string `json:"name"`
			Current bool   `json:"current"`
			Offline bool   `json:"offline"`
		} `json:"replicas"`
	} `json:"cluster"`
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}

// behind are the reasons why a broker of the stream must not go now.
func (i *streamState) behind(stream string) (out []string) {
	switch {
	case i.Error != nil:
		return []string{fmt.Sprintf("stream %s: %s", stream, subjects.Printable(i.Error.Description, 100))}
	case i.Cluster == nil:
		return nil // a broker alone
	case i.Cluster.Leader == "":
		return []string{fmt.Sprintf("stream %s has no leader", stream)}
	}
	for _, r := range i.Cluster.Replicas {
		if r.Offline || !r.Current {
			out = append(out, fmt.Sprintf("stream %s is not copied at %s", stream, subjects.Printable(r.Name, 64)))
		}
	}
	return out
}

// streamsBehind asks JetStream about all streams that brokers copy. Only operators may.
func (s *session) streamsBehind(ctx context.Context) (out []string) {
	for _, stream := range []string{subjects.BucketStream(subjects.ElectionBucket), subjects.BucketStream(subjects.StatusBucket), subjects.HistoryStream} {
		out = append(out, s.streamBehind(ctx, stream)...)
	}
	return slices.Compact(out)
}

func (s *session) streamBehind(ctx context.Context, stream string) []string {
	nc := s.Conn()
	if nc == nil {
		return []string{"not connected to a broker"}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+stream, nil)
	if err != nil {
		return []string{fmt.Sprintf("JetStream does not tell of stream %s: %v", stream, err)}
	}
	i, err := parseStreamState(m.Data)
	if err != nil {
		return []string{fmt.Sprintf("JetStream answers about stream %s: %v", stream, err)}
	}
	return i.behind(stream)
}

func parseStreamState(b []byte) (*streamState, error) {
	var i streamState
	return &i, json.Unmarshal(b, &i)
}
