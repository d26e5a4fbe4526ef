// Package ng asks an rtpengine by its control protocol ng: a cookie and a bencoded
// dictionary over UDP. It is the one owner of that exchange: whether a relay lives, what
// it carries for its weight, and what it carries while it is drained are asked here.
package ng

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"

	"thor/nodeagent/datagram"
	"thor/overlay/check"
)

// A Client asks one rtpengine, one question at a time.
type Client struct {
	cookie string // the number of the question follows
	seq    int
	udp    datagram.Dialogue
}

// New is for the rtpengine whose ng protocol listens on target, HOST:PORT over UDP.
func New(target string) *Client {
	return &Client{cookie: rand.Text(), udp: datagram.Dialogue{Target: target}}
}

// Close ends the socket that is kept between questions.
func (c *Client) Close() { c.udp.Close() }

// Ping asks whether rtpengine lives. ctx has a deadline.
func (c *Client) Ping(ctx context.Context) error {
	a, err := c.ask(ctx, "ping")
	if err != nil {
		return err
	}
	if a["result"] != "pong" {
		return &check.Fault{Text: "answered something other than pong", Cause: fmt.Errorf("%.100q", fmt.Sprint(a))}
	}
	return nil
}

// Statistics are what an rtpengine carries now.
type Statistics struct {
	Own      int // sessions of its own
	Sessions int // those, and the ones it keeps for another one
}

// Statistics asks what rtpengine carries. ctx has a deadline.
func (c *Client) Statistics(ctx context.Context) (s Statistics, err error) {
	a, err := c.ask(ctx, "statistics")
	if err != nil {
		return s, err
	}
	all, _ := a["statistics"].(map[string]any)
	current, _ := all["currentstatistics"].(map[string]any)
	own, ok1 := current["sessionsown"].(int64)
	total, ok2 := current["sessionstotal"].(int64)
	if !ok1 || !ok2 || own < 0 || total < 0 || own > maxSessions || total > maxSessions {
		return s, &check.Fault{Text: "does not say how many sessions it has", Cause: fmt.Errorf("%.100q", fmt.Sprint(a))}
	}
	return Statistics{Own: int(own), Sessions: int(total)}, nil
}

// maxSessions is more than the ports of any relay suffice for.
const maxSessions = 1 << 31

// ask asks for command, with further keys of the question and their values, and returns
// the answer.
func (c *Client) ask(ctx context.Context, command string, more ...string) (answer map[string]any, err error) {
	c.seq++ // rtpengine answers a cookie that it knows out of its memory
	cookie := fmt.Sprintf("%s-%d", c.cookie, c.seq)
	question := fmt.Appendf(nil, "%s d7:command%d:%s", cookie, len(command), command)
	for _, word := range more {
		question = fmt.Appendf(question, "%d:%s", len(word), word)
	}
	question = append(question, 'e')
	err = c.udp.Ask(ctx,
		func(netip.AddrPort) []byte { return question },
		func(b []byte) (datagram.Match, error) {
			got, body, _ := bytes.Cut(b, []byte(" "))
			switch {
			case string(got) != cookie && bytes.HasPrefix(got, []byte(c.cookie+"-")):
				return datagram.Other, nil
			case string(got) != cookie:
				return datagram.Foreign, nil
			}
			v, err := decode(body)
			dict, ok := v.(map[string]any)
			if err != nil || !ok {
				return datagram.Foreign, nil
			}
			answer = dict
			return datagram.Final, nil
		})
	return answer, err
}
