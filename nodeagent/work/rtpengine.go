package work

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"thor/subjects"
)

const (
	repeatAfter = 500 * time.Millisecond // UDP may lose the question or the answer
	maxAnswer   = 64 << 10
)

// RTPEngine counts the sessions of the rtpengine whose ng protocol listens on target.
func RTPEngine(target string) Counter {
	return Counter{What: subjects.Sessions, Count: func(ctx context.Context) (int, error) { return sessions(ctx, target) }}
}

func sessions(ctx context.Context, target string) (int, error) {
	c, err := new(net.Dialer).DialContext(ctx, "udp", target)
	if err != nil {
		return 0, fmt.Errorf("rtpengine: %w", err)
	}
	defer func() { _ = c.Close() }() // of a UDP socket nothing can be lost
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails
	cookie := []byte(hex.EncodeToString(id))
	question := append(cookie[:len(cookie):len(cookie)], " d7:command10:statisticse"...)
	b := make([]byte, maxAnswer)
	for ctx.Err() == nil {
		if _, err := c.Write(question); err != nil {
			return 0, fmt.Errorf("rtpengine: %w", err)
		}
		if err := c.SetReadDeadline(time.Now().Add(repeatAfter)); err != nil {
			return 0, fmt.Errorf("rtpengine: %w", err)
		}
		for {
			n, err := c.Read(b)
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				break
			}
			if err != nil {
				return 0, fmt.Errorf("rtpengine: %w", err)
			}
			if got, answer, _ := bytes.Cut(b[:n], []byte(" ")); bytes.Equal(got, cookie) {
				return parseSessions(answer)
			}
		}
	}
	return 0, errors.New("rtpengine: no answer to statistics")
}

// parseSessions finds the number of sessions in the bencoded answer to statistics:
// those that this rtpengine has and those that it keeps for another one. Keys are
// preceded by their length, so that they are not found in the midst of others.
func parseSessions(answer []byte) (int, error) {
	_, current, ok := bytes.Cut(answer, []byte("17:currentstatisticsd"))
	if ok {
		_, current, ok = bytes.Cut(current, []byte("13:sessionstotali"))
	}
	digits, _, end := bytes.Cut(current, []byte("e"))
	n, err := strconv.Atoi(string(digits))
	if !ok || !end || err != nil || n < 0 {
		return 0, fmt.Errorf("rtpengine: no number of sessions in the answer %.100q", answer)
	}
	return n, nil
}
