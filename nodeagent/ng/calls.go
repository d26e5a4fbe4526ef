package ng

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"thor/overlay/check"
	"thor/overlay/media"
)

// Traffic is what an rtpengine relays now.
type Traffic struct {
	Uptime   int64 // seconds
	Sessions int
	ByteRate int64 // bytes a second
	Media    int   // that it relays, in the kernel and itself
}

// Traffic asks what rtpengine relays. ctx has a deadline.
func (c *Client) Traffic(ctx context.Context) (t Traffic, err error) {
	a, err := c.ask(ctx, "statistics")
	if err != nil {
		return t, err
	}
	all, _ := a["statistics"].(map[string]any)
	now, _ := all["currentstatistics"].(map[string]any)
	total, _ := all["totalstatistics"].(map[string]any)
	sessions, ok := now["sessionstotal"].(int64)
	if !ok || sessions < 0 || sessions > maxSessions {
		return t, unexpected(a)
	}
	up, _ := total["uptime"].(string)
	t.Uptime, _ = strconv.ParseInt(up, 10, 64) // 0 where it does not say
	rate, _ := now["byterate"].(int64)
	user, _ := now["media_userspace"].(int64)
	kernel, _ := now["media_kernel"].(int64)
	t.Sessions, t.ByteRate, t.Media = int(sessions), max(0, rate), int(max(0, user)+max(0, kernel))
	return t, nil
}

func unexpected(a map[string]any) error {
	return &check.Fault{Text: "answered something unexpected", Cause: fmt.Errorf("%.100q", fmt.Sprint(a))}
}

// Calls lists at most limit Call-IDs. ctx has a deadline.
func (c *Client) Calls(ctx context.Context, limit int) (ids []string, err error) {
	a, err := c.ask(ctx, "list", "limit", strconv.Itoa(limit))
	if err != nil {
		return nil, err
	}
	calls, ok := a["calls"].([]any)
	if !ok {
		return nil, unexpected(a)
	}
	for _, id := range calls[:min(len(calls), limit)] {
		if s, ok := id.(string); ok {
			ids = append(ids, s)
		}
	}
	return ids, nil
}

// Call tells of one call; ok is false where rtpengine does not know it. ctx has a
// deadline.
func (c *Client) Call(ctx context.Context, id string) (call media.Call, ok bool, err error) {
	a, err := c.ask(ctx, "query", "call-id", id)
	if err != nil {
		return call, false, err
	}
	created, ok := a["created"].(int64)
	if !ok {
		return call, false, nil // an error, such as an unknown Call-ID
	}
	call = media.Call{ID: id, Created: created}
	tags, _ := a["tags"].(map[string]any)
	caller, callee := sides(tags)
	call.FromTag, call.ToTag = caller.tag, callee.tag
	for i := range min(max(len(caller.media), len(callee.media)), media.MaxStreams) {
		x, y := caller.at(i), callee.at(i)
		s := media.Stream{Type: cmp.Or(text(x, "type"), text(y, "type")), Caller: side(x), Callee: side(y)}
		call.Streams = append(call.Streams, s)
	}
	return call, true, nil
}

// A party is one of the two that a call has media with.
type party struct {
	tag     string
	created int64
	offered bool // rtpengine offered it the call
	media   []any
}

func (p *party) at(i int) map[string]any {
	if i >= len(p.media) {
		return nil
	}
	m, _ := p.media[i].(map[string]any)
	return m
}

// sides are the caller and the callee of a call: the party that is known longer, or to
// which the call was not offered, calls.
func sides(tags map[string]any) (caller, callee party) {
	var ps []party
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		t, _ := tags[tag].(map[string]any)
		p := party{tag: tag}
		p.created, _ = t["created"].(int64)
		p.media, _ = t["medias"].([]any)
		if len(p.media) > 0 {
			flags, _ := p.at(0)["flags"].([]any)
			p.offered = slices.Contains(flags, any("ICE controlling"))
			ps = append(ps, p)
		}
	}
	slices.SortStableFunc(ps, func(a, b party) int {
		return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(toInt(a.offered), toInt(b.offered)))
	})
	if len(ps) > 0 {
		caller = ps[0]
	}
	if len(ps) > 1 {
		callee = ps[1]
	}
	return caller, callee
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// side is the RTP of one side of a medium.
func side(m map[string]any) (s media.Side) {
	streams, _ := m["streams"].([]any)
	if len(streams) == 0 {
		return s
	}
	x, _ := streams[0].(map[string]any)
	port, _ := x["local port"].(int64)
	if at := text(x, "local address"); at != "" {
		s.Local = net.JoinHostPort(at, strconv.FormatInt(port, 10))
	}
	if e, ok := x["endpoint"].(map[string]any); ok {
		port, _ := e["port"].(int64)
		s.Remote = net.JoinHostPort(text(e, "address"), strconv.FormatInt(port, 10))
	}
	stats, _ := x["stats"].(map[string]any)
	s.Packets, _ = stats["packets"].(int64)
	s.Bytes, _ = stats["bytes"].(int64)
	s.Last, _ = x["last packet"].(int64)
	return s
}
