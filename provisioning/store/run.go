package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"thor/dbagent/location"
)

const (
	retryFirst = 500 * time.Millisecond
	retryMost  = 10 * time.Second
	askEvery   = time.Second // the source is asked at most so often because calls fail
	trimEvery  = time.Hour
)

// Run follows the source until ctx ends: it opens the database that is to be
// used and leaves it for another one without failing the calls under way. It
// may be called once.
func (s *Store) Run(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return errors.New("store: Run was called before")
	}
	defer s.use(nil, errors.New("the server is ending"))
	changed := s.cfg.Source.Watch(ctx)
	if s.cluster != nil {
		guarded := make(chan struct{})
		ctx, cancel := context.WithCancel(ctx)
		go func() { defer close(guarded); s.guard(ctx) }()
		defer func() { cancel(); <-guarded }()
	}
	retry, trim := time.NewTimer(0), time.NewTicker(trimEvery)
	defer retry.Stop()
	defer trim.Stop()
	failures, asked := 0, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-trim.C:
			s.trimNow(ctx)
			continue
		case <-s.again:
			if rest := askEvery - time.Since(asked); rest > 0 {
				retry.Reset(rest)
				continue
			}
		case _, ok := <-changed:
			if !ok {
				changed = nil
			}
		case <-retry.C:
		}
		asked = time.Now()
		err := s.follow(ctx, changed)
		for errors.Is(err, errMoved) {
			err = s.follow(ctx, changed)
		}
		if err != nil && ctx.Err() == nil {
			failures++
			s.noteFailure(err, failures)
			retry.Reset(backoff(failures))
			continue
		}
		failures = 0
	}
}

// noteFailure tells the first of a row.
func (s *Store) noteFailure(err error, failures int) {
	s.mu.Lock()
	if s.current == nil {
		s.reason = err
	}
	s.mu.Unlock()
	if failures == 1 {
		s.log.Error().Str("err", describe(err)).Msg("database cannot be used")
	}
}

func backoff(failures int) time.Duration {
	d := min(retryFirst<<min(failures-1, 10), retryMost)
	return d/2 + rand.N(d/2)
}

// follow makes the located database the current one. It keeps the current one
// when it learns of no other.
func (s *Store) follow(ctx context.Context, changed <-chan struct{}) error {
	d, err := s.cfg.Source.Locate(ctx)
	if err != nil {
		return fmt.Errorf("locate: %w", err)
	}
	if d.Reveal() == s.Database().Reveal() {
		return nil
	}
	db, err := s.openUnlessMoved(ctx, d, changed)
	if err != nil {
		if s.cluster != nil && !errors.Is(err, errMoved) && ctx.Err() == nil {
			s.cluster.Avoid(d)
		}
		return err
	}
	s.use(db, nil)
	s.log.Info().Object("database", d).Msg("database in use")
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
	return nil
}

var errMoved = errors.New("another database is to be used")

// openUnlessMoved opens d, which takes minutes if it hangs. It gives up with
// errMoved when the source yields and names another one.
func (s *Store) openUnlessMoved(ctx context.Context, d location.DSN, changed <-chan struct{}) (db *database, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		db, err = s.open(ctx, d)
	}()
	for {
		select {
		case <-done:
			return db, err
		case _, ok := <-changed:
			if !ok {
				changed = nil
				continue
			}
			now, failed := s.cfg.Source.Locate(ctx)
			if failed != nil || now.Reveal() == d.Reveal() {
				continue
			}
			cancel()
			<-done
			if err == nil {
				s.close(db)
			}
			return nil, errMoved
		}
	}
}

// trimNow forgets subscribers that were deleted long ago.
func (s *Store) trimNow(ctx context.Context) {
	if n, err := s.Trim(ctx); err != nil {
		s.log.Error().Err(err).Msg("trim revisions")
	} else if n > 0 {
		s.log.Info().Int("revisions", n).Msg("revisions trimmed")
	}
}
