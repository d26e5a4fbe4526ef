package broker

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// JetStreamState says whether the buckets can be used.
type JetStreamState string

// The states of JetStream on a broker.
const (
	JetStreamOK       JetStreamState = "ok"
	JetStreamNoLeader JetStreamState = "no_leader" // too few brokers of the cluster are connected
	JetStreamOff      JetStreamState = "off"       // switched off: nats-server does so when its disk is full
	JetStreamStalled  JetStreamState = "stalled"   // it does not answer, as when its disk hangs
	JetStreamNone     JetStreamState = ""          // it is not to run on this broker
)

// JetStream is the state of JetStream now. Without it there are no elections,
// but members, managers and the status go on.
func (b *Broker) JetStream() JetStreamState {
	if !b.cfg.carries() {
		return JetStreamNone
	}
	s := b.srv.Load()
	if s == nil {
		return JetStreamOff
	}
	return streamState(&b.streams, func() JetStreamState { return jetStreamState(s) })
}

func streamState(q *question[JetStreamState], ask func() JetStreamState) JetStreamState {
	is, ok := q.answer(ask)
	if !ok {
		return JetStreamStalled
	}
	return is
}

func jetStreamState(s *server.Server) JetStreamState {
	if !s.JetStreamEnabled() {
		return JetStreamOff
	}
	if !s.JetStreamIsClustered() {
		return JetStreamOK
	}
	js, err := s.Jsz(nil)
	switch {
	case err != nil || js.Disabled:
		return JetStreamOff
	case js.Meta == nil || js.Meta.Leader == "":
		return JetStreamNoLeader
	}
	return JetStreamOK
}

// startRoom is what JetStream needs on disk to start, with something to spare.
// nats-server does not start at all when it cannot write there.
const startRoom = 1 << 20

// storable reports whether JetStream can be started with the store as it is. A
// broker whose disk is full starts without: it still carries all messages.
func (b *Broker) storable() bool {
	err := writable(b.cfg.StoreDir, startRoom)
	if err != nil {
		b.log.Error().Err(err).Msg("no room in the store directory, starting without JetStream")
	}
	return err == nil
}

// minFree is how much of the disk must be free before JetStream is tried again.
const minFree = 32 << 20

// How long JetStream that was started again may take to become whole: doubled each time that this does
// not help, since the leaders among its groups change with each start.
const (
	giveUpPause   = 10 * time.Second
	giveUpLongest = 5 * time.Minute
)

// guardJetStream tells when JetStream fails and starts it again when it can.
// The process would look alive without it.
func (b *Broker) guardJetStream(ctx context.Context, s *server.Server) {
	if !b.cfg.carries() {
		return
	}
	was := JetStreamOK
	if b.cfg.ClusterListen != "" {
		was = JetStreamNoLeader // until the first others come
	}
	tries := 0
	var ended time.Time // when it was switched off here
	pause := giveUpPause
	every(ctx, jetStreamTick, func() {
		is := jetStreamState(s)
		if is != JetStreamOff && time.Since(ended) >= pause {
			if lost := givenUp(s); lost != "" {
				if pause = min(2*pause, giveUpLongest); time.Since(ended) > 2*giveUpLongest {
					pause = giveUpPause
				}
				b.log.Error().Str("error", lost).Msg("JetStream could not write and gave a group up, starting it again")
				ended = time.Now()
				if err := s.ShutdownJetStream(); err != nil {
					b.log.Error().Err(err).Msg("JetStream does not end")
				}
				is = jetStreamState(s)
			}
		}
		if is != was {
			l := b.log.Info()
			if is != JetStreamOK {
				l = b.log.Error()
			}
			l.Str("state", string(is)).Msg("JetStream")
			was, tries = is, 0
		}
		if is != JetStreamOff {
			return
		}
		err := b.restartJetStream(s)
		if err != nil && tries == 0 {
			b.log.Error().Err(err).Msg("JetStream cannot be started again, retrying")
		}
		tries++
	})
}

// givenUp is the first group of JetStream that could not write, as without free file descriptors;
// empty: none. nats-server stops such a group for good: it votes no more, and when
// one more broker goes the others have no majority.
func givenUp(s *server.Server) string {
	for _, e := range s.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if strings.Contains(e.Error, "write error") {
			return e.Error
		}
	}
	return ""
}

func (b *Broker) restartJetStream(s *server.Server) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(b.cfg.StoreDir, &fs); err != nil {
		return fmt.Errorf("look at store directory: %w", err)
	}
	if free := int64(fs.Bavail) * int64(fs.Bsize); free < minFree {
		return fmt.Errorf("%d bytes free in the store directory, %d wanted", free, minFree)
	}
	err := s.EnableJetStream(&server.JetStreamConfig{
		StoreDir: b.cfg.StoreDir, MaxMemory: b.cfg.MemoryLimit, MaxStore: b.cfg.DiskLimit, Strict: true, CompressOK: true,
	})
	if err != nil {
		_ = s.ShutdownJetStream() // what it left half started
		return fmt.Errorf("start JetStream: %w", err)
	}
	if err := b.enableAccount(); err != nil { // nothing if the account had it before
		return err
	}
	b.m.restartedJetStream()
	return nil
}
