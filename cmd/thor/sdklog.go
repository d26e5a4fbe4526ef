package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/rs/zerolog"
)

// sdkLog hands log to the SDK, which speaks slog: its lines look like all others.
func sdkLog(log zerolog.Logger) *slog.Logger {
	return slog.New(ownTime{zerolog.NewSlogHandler(log)})
}

// ownTime leaves the time of a line to the logger: in the journal lines have none.
type ownTime struct{ slog.Handler }

func (h ownTime) Handle(ctx context.Context, r slog.Record) error {
	r.Time = time.Time{}
	return h.Handler.Handle(ctx, r)
}

func (h ownTime) WithAttrs(as []slog.Attr) slog.Handler { return ownTime{h.Handler.WithAttrs(as)} }

func (h ownTime) WithGroup(name string) slog.Handler { return ownTime{h.Handler.WithGroup(name)} }
