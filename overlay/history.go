package overlay

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thor/subjects"
)

// How the history is read.
const (
	historyWait  = 3 * time.Second // for the next answer
	historyTries = 3               // of a request

	historyAtOnce = 20                     // requests of all that read; brokers cut off who asks on and on…
	historyPause  = 250 * time.Millisecond // …sooner than this
)

// ErrNoHistory is why the history cannot be read: it does not exist yet, or JetStream
// has no leader.
var ErrNoHistory = errors.New("no broker has the history: they make it when JetStream has a leader")

// HistoryBegins is when the oldest record was stored, by a broker's clock; zero if
// there is none. trimmed says that older ones had to make room.
func (n *Node) HistoryBegins(ctx context.Context) (first time.Time, trimmed bool, err error) {
	p, err := n.historyPage(ctx, subjects.HistoryRequest{Seq: 1, Batch: 1, MaxBytes: subjects.MaxHistoryBytes})
	if err != nil || len(p.messages) == 0 {
		return time.Time{}, false, err
	}
	m := p.messages[0]
	first, err = time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	return first, p.last > 1, err
}

// ReadHistory gives take the records that were stored at or after from, in the
// order of the stream, until take returns false or the last one. bad is how many were
// malformed, or of a later version. Certificates with the role thor_operator or
// thor_monitor may read it.
func (n *Node) ReadHistory(ctx context.Context, from time.Time, take func(*subjects.Record) bool) (bad int, err error) {
	q := subjects.HistoryRequest{Start: &from, Batch: subjects.MaxHistoryBatch, MaxBytes: subjects.MaxHistoryBytes}
	var reader subjects.RecordReader
	for {
		p, err := n.historyPage(ctx, q)
		if err != nil {
			return bad, err
		}
		for _, m := range p.messages {
			r, err := reader.Add(m.Header.Get(jetstream.SubjectHeader), m.Header.Get, m.Data)
			if err != nil {
				bad++
			}
			if err == nil && r != nil && !take(r) {
				return bad, nil
			}
		}
		if !p.more {
			return bad, nil
		}
		q.Start, q.Seq = nil, p.last+1
	}
}

// A historyPage is the answer to one request.
type historyPage struct {
	messages []*nats.Msg
	last     uint64 // sequence of the last of them
	more     bool
}

// historyPage asks, again if an answer is lost or no broker serves the stream just now.
func (n *Node) historyPage(ctx context.Context, q subjects.HistoryRequest) (p *historyPage, err error) {
	if id := n.Identity(); !id.Has(subjects.Operator) && !id.Has(subjects.Monitor) {
		return nil, fmt.Errorf("read the history: %w", ErrForbidden)
	}
	for range historyTries {
		if err := n.reads.wait(ctx); err != nil {
			return nil, fmt.Errorf("read the history: %w", err)
		}
		if p, err = n.askHistory(ctx, q); err == nil {
			return p, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read the history: %w", err)
		case <-time.After(historyWait / 10):
		}
	}
	return nil, fmt.Errorf("read the history: %w", err)
}

func (n *Node) askHistory(ctx context.Context, q subjects.HistoryRequest) (*historyPage, error) {
	nc := n.Conn()
	if nc == nil || !n.Connected() {
		return nil, ErrNotConnected
	}
	var token [16]byte
	_, _ = rand.Read(token[:]) // never fails, see crypto/rand
	answers := make(chan *nats.Msg, subjects.MaxHistoryBatch+1)
	reply := subjects.JetStreamPrefix(n.ID()) + "." + hex.EncodeToString(token[:])
	sub, err := nc.ChanSubscribe(reply, answers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(subjects.HistoryGet, reply, q.Encode()); err != nil {
		return nil, err
	}
	p := &historyPage{}
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(historyWait):
			return nil, fmt.Errorf("no answer within %s", historyWait)
		case m := <-answers:
			if done, err := p.add(m); done || err != nil {
				return p, err
			}
		}
	}
}

// add takes one answer. done is true with the last one, and where one before is
// missing: the rest is asked for again.
func (p *historyPage) add(m *nats.Msg) (done bool, err error) {
	switch m.Header.Get("Status") {
	case "":
	case "204": // the end
		pending, _ := strconv.ParseUint(m.Header.Get("Nats-Num-Pending"), 10, 64)
		last, _ := strconv.ParseUint(m.Header.Get("Nats-Last-Sequence"), 10, 64)
		if last > p.last && len(p.messages) == 0 {
			return true, errors.New("an answer was lost")
		}
		p.more = pending > 0 || last > p.last
		return true, nil
	case "404": // there is none
		return true, nil
	case "503":
		return true, ErrNoHistory
	default:
		return true, fmt.Errorf("JetStream answers %s %s", m.Header.Get("Status"), m.Header.Get("Description"))
	}
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	before, e := strconv.ParseUint(m.Header.Get("Nats-Last-Sequence"), 10, 64)
	switch {
	case err != nil || e != nil:
		return true, errors.New("a stored message without its sequence")
	case before != p.last && len(p.messages) == 0:
		return true, errors.New("an answer was lost")
	case before != p.last:
		p.more = true
		return true, nil
	}
	p.messages, p.last = append(p.messages, m), seq
	return false, nil
}
