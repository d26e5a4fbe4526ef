package powerdns

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// A batch is statements that go to the server together: on a busy host each way there
// and back costs more than what it carries.
type batch struct{ statements []statement }

type statement struct {
	text string
	args []any
	done func(id int64) // with the first id that the statement gave; nil: it gives none
}

// groupBytes is about the size of what is sent at once.
const groupBytes = 1 << 20

func (b *batch) add(done func(id int64), text string, args ...any) {
	b.statements = append(b.statements, statement{text, args, done})
}

// size is about the bytes of a statement.
func (s *statement) size() int {
	n := len(s.text)
	for _, a := range s.args {
		if text, ok := a.(string); ok {
			n += 2 * len(text)
		} else {
			n += 20
		}
	}
	return n
}

// run executes the statements in their order, until one fails.
func (b *batch) run(ctx context.Context, c *sql.Conn) error {
	for rest := b.statements; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && (n == 0 || size < groupBytes) {
			size += rest[n].size()
			n++
		}
		if err := send(ctx, c, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func send(ctx context.Context, c *sql.Conn, group []statement) error {
	texts := make([]string, len(group))
	var args []driver.NamedValue
	for i, s := range group {
		texts[i] = s.text
		for _, a := range s.args {
			args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: a})
		}
	}
	var ids []int64
	err := c.Raw(func(dc any) error {
		e, ok := dc.(driver.ExecerContext)
		if !ok {
			return errors.New("the driver lacks a part of its interface")
		}
		r, err := e.ExecContext(ctx, strings.Join(texts, "; "), args)
		if err != nil {
			return err
		}
		all, ok := r.(mysql.Result)
		if !ok {
			return errors.New("the driver lacks a part of its interface")
		}
		ids = all.AllLastInsertIds()
		return nil
	})
	if err == nil && len(ids) != len(group) {
		err = fmt.Errorf("%d statements had %d results", len(group), len(ids))
	}
	if err != nil {
		return err
	}
	for i, s := range group {
		if s.done != nil {
			s.done(ids[i])
		}
	}
	return nil
}
