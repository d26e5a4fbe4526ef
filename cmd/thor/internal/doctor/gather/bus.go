package gather

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thor/cmd/thor/internal/doctor"
	"thor/subjects"
)

// PingSubject is where nats-server answers pings of all brokers of the cluster.
const PingSubject = "$SYS.REQ.SERVER.PING"

// PingBrokers pings every broker of the cluster, and hands on each answer until take wants
// no more or ctx ends. That ctx ends is no error: who did not answer is not known.
func PingBrokers(ctx context.Context, nc *nats.Conn, take func(answer []byte) (more bool)) error {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(PingSubject, inbox, nil); err != nil {
		return err
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil || !take(m.Data) {
			return nil
		}
	}
}

// clocks pings every broker of the cluster and waits a second for the answers.
func clocks(ctx context.Context, nc *nats.Conn) *doctor.Clocks {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c := &doctor.Clocks{Asked: time.Now()}
	err := PingBrokers(ctx, nc, func(answer []byte) bool {
		var p struct {
			Server struct {
				Name string    `json:"name"`
				Time time.Time `json:"time"`
			} `json:"server"`
		}
		if json.Unmarshal(answer, &p) == nil && !p.Server.Time.IsZero() {
			c.Pongs = append(c.Pongs, doctor.Pong{Broker: p.Server.Name, Time: p.Server.Time, Came: time.Now()})
		}
		return true
	})
	if err != nil {
		return &doctor.Clocks{Err: err}
	}
	return c
}

// bucket reads what managers write for those that start.
func bucket(ctx context.Context, nc *nats.Conn) *doctor.Bucket {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	js, err := jetstream.New(nc)
	if err != nil {
		return &doctor.Bucket{Err: err}
	}
	kv, err := js.KeyValue(ctx, subjects.StatusBucket)
	if err != nil {
		return &doctor.Bucket{Err: err}
	}
	e, err := kv.Get(ctx, subjects.StatusKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return &doctor.Bucket{Empty: true}
	}
	if err != nil {
		return &doctor.Bucket{Err: err}
	}
	var head struct{ Epoch, Generation uint64 }
	if err := json.Unmarshal(e.Value(), &head); err != nil {
		return &doctor.Bucket{Damaged: err}
	}
	return &doctor.Bucket{Epoch: head.Epoch, Generation: head.Generation, Age: time.Since(e.Created())}
}
