package provisioning

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"thor/overlay/media"
	"thor/provisioning/ngnpro"
	"thor/provisioning/push"
	"thor/provisioning/soap"
	"thor/subjects"
)

// Operations on what media relays carry. Nothing in a session says whose it is, so that
// they are for administrators.

// maxSessions is the greatest number of sessions in one answer.
const maxSessions = 1000

// activeFor is how long after its last packet a stream counts as active.
const activeFor = 10 * time.Second

// A mediaRelay is an entry of getMediaSummary.
type mediaRelay struct {
	IP           string         `json:"ip"`
	Version      string         `json:"version"` // of the node's role
	Uptime       int64          `json:"uptime"`  // seconds
	BPSRelayed   int64          `json:"bps_relayed"`
	SessionCount int            `json:"session_count"`
	StreamCount  map[string]int `json:"stream_count"` // by type; rtpengine counts all in one
	Status       string         `json:"status"`       // "ok", or what is wrong
}

// A mediaSession is an entry of getMediaSessions, and the answer of getMediaTrace. Users
// and codecs are none of the relay's business: it does not know them.
type mediaSession struct {
	CallID   string        `json:"call_id"`
	FromTag  string        `json:"from_tag"`
	ToTag    string        `json:"to_tag"`
	FromURI  string        `json:"from_uri"`
	ToURI    string        `json:"to_uri"`
	CallerUA string        `json:"caller_ua"`
	CalleeUA string        `json:"callee_ua"`
	Duration int64         `json:"duration"` // seconds
	Streams  []mediaStream `json:"streams"`
}

// A mediaStream is one medium of a session.
type mediaStream struct {
	Type          string `json:"media_type"`
	Status        string `json:"status"` // "active" or "idle"
	CallerCodec   string `json:"caller_codec"`
	CalleeCodec   string `json:"callee_codec"`
	CallerLocal   string `json:"caller_local"`
	CalleeLocal   string `json:"callee_local"`
	CallerRemote  string `json:"caller_remote"`
	CalleeRemote  string `json:"callee_remote"`
	CallerBytes   int64  `json:"caller_bytes"`
	CalleeBytes   int64  `json:"callee_bytes"`
	CallerPackets int64  `json:"caller_packets"`
	CalleePackets int64  `json:"callee_packets"`
	StartTime     int64  `json:"start_time"`   // seconds after the session began
	EndTime       int64  `json:"end_time"`     // of the last packet
	TimeoutWait   int64  `json:"timeout_wait"` // none: the session is up
}

func mediaOperations() []operation {
	answers := func(name string, f func(*call) (any, error)) operation {
		return operation{
			Operation: soap.Operation{Name: name, Result: reflect.TypeFor[string]()},
			do: func(c *call, _ []any) (any, error) {
				v, err := f(c)
				if err != nil {
					return nil, err
				}
				return toJSON(v), nil
			},
		}
	}
	filter := record("filter", (*ngnpro.MediaTraceFilter).Clean)
	return []operation{
		{
			Operation: soap.Operation{Name: "getMediaTrace", Params: []soap.Param{filter.Param}, Result: reflect.TypeFor[string]()},
			do: func(c *call, args []any) (any, error) {
				if err := filter.clean(args[0]); err != nil {
					return nil, err
				}
				s, err := c.mediaTrace(filter.take(args[0]))
				if err != nil {
					return nil, err
				}
				return toJSON(s), nil
			},
		},
		answers("getMediaSummary", func(c *call) (any, error) { return c.mediaSummary() }),
		answers("getMediaSessions", func(c *call) (any, error) { return c.mediaSessions() }),
	}
}

// media asks the nodes of media relays.
func (c *call) media(q media.Request, only func(*subjects.Member) bool) ([]push.NodeMedia, error) {
	if !c.v.Admin {
		return nil, ngnpro.ErrForbidden.With("what media relays carry is for administrators: a session does not say whose it is")
	}
	if c.cfg.Nodes == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, nodesWait)
	defer cancel()
	found, err := c.cfg.Nodes.Media(ctx, q, only)
	if err != nil {
		c.log.Debug().Err(err).Msg("ask nodes for media")
		return nil, ngnpro.ErrUnavailable.With("the nodes cannot be asked: try again later")
	}
	return found, nil
}

func (c *call) mediaSummary() ([]mediaRelay, error) {
	found, err := c.media(media.Request{}, nil)
	out := []mediaRelay{}
	for _, n := range found {
		line := func() *mediaRelay {
			out = append(out, mediaRelay{IP: n.Member.Address().String(), Version: n.Member.Version, StreamCount: map[string]int{}, Status: "ok"})
			return &out[len(out)-1]
		}
		switch {
		case n.Err != nil:
			line().Status = "the node does not answer"
		case len(n.Relays) == 0:
			line().Status = "the relay cannot be asked"
		}
		for _, r := range n.Relays {
			l := line()
			if r.Fault != "" {
				l.Status = r.Fault
				continue
			}
			l.Uptime, l.BPSRelayed, l.SessionCount = r.Uptime, 8*r.ByteRate, r.Sessions
			l.StreamCount["all"] = r.Streams
		}
	}
	return out, err
}

func (c *call) mediaSessions() ([]mediaSession, error) {
	found, err := c.media(media.Request{Calls: true}, nil)
	out := []mediaSession{}
	now := time.Now()
	for _, n := range found {
		for _, r := range n.Relays {
			for i := range r.Calls[:min(len(r.Calls), maxSessions-len(out))] {
				out = append(out, session(&r.Calls[i], now))
			}
		}
	}
	return out, err
}

// mediaTrace is the call while it is up: relays forget those that have ended.
func (c *call) mediaTrace(f *ngnpro.MediaTraceFilter) (*mediaSession, error) {
	at := func(m *subjects.Member) bool {
		return slices.ContainsFunc(m.Addresses, func(a netip.Addr) bool { return a.String() == f.NodeIP })
	}
	found, err := c.media(media.Request{CallID: f.CallID}, at)
	if err == nil && len(found) == 0 { // it is a proxy's, as clients know it
		found, err = c.media(media.Request{CallID: f.CallID}, nil)
	}
	if err != nil {
		return nil, err
	}
	for _, n := range found {
		for _, r := range n.Relays {
			for i := range r.Calls {
				if x := &r.Calls[i]; x.ID == f.CallID && tagged(x, f) {
					s := session(x, time.Now())
					return &s, nil
				}
			}
		}
	}
	return nil, ngnpro.ErrNoMediaTrace
}

// tagged reports whether a call has the tags of a filter, in either order: which side
// called is the relay's guess.
func tagged(c *media.Call, f *ngnpro.MediaTraceFilter) bool {
	of := []string{c.FromTag, c.ToTag, ""}
	return slices.Contains(of, f.FromTag) && slices.Contains(of, f.ToTag)
}

func session(c *media.Call, now time.Time) mediaSession {
	s := mediaSession{CallID: c.ID, FromTag: c.FromTag, ToTag: c.ToTag, Duration: max(0, now.Unix()-c.Created), Streams: []mediaStream{}}
	for _, x := range c.Streams {
		last := max(x.Caller.Last, x.Callee.Last)
		m := mediaStream{
			Type: x.Type, Status: "idle", EndTime: max(0, last-c.Created),
			CallerLocal: x.Caller.Local, CallerRemote: x.Caller.Remote, CallerBytes: x.Caller.Bytes, CallerPackets: x.Caller.Packets,
			CalleeLocal: x.Callee.Local, CalleeRemote: x.Callee.Remote, CalleeBytes: x.Callee.Bytes, CalleePackets: x.Callee.Packets,
		}
		if x.Caller.Packets+x.Callee.Packets > 0 && now.Sub(time.Unix(last, 0)) < activeFor {
			m.Status = "active"
		}
		s.Streams = append(s.Streams, m)
	}
	return s
}
