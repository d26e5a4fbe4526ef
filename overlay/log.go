package overlay

import (
	"log/slog"

	"thor/subjects"
)

// cause is the attribute of an error, which is empty for nil.
func cause(err error) slog.Attr {
	if err == nil {
		return slog.Attr{}
	}
	return slog.Any("error", err)
}

func roleAttr(r subjects.Role) slog.Attr { return slog.String("role", string(r)) }
