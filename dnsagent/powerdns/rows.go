package powerdns

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/dnsagent/powerdns/plan"
)

// Sizes of what is read and written.
const (
	maxRows    = 200_000 // of one zone; more are not the zone of a network
	batchRows  = 500     // of one statement
	batchBytes = 256 << 10
)

// rows are those of a zone as the database has them: read, or known since they were
// read and changed.
type rows struct {
	domain  int64
	step    int64  // between ids that the server gives to rows of one statement
	mark    string // of the status that they are of, as the metadata have it
	present []plan.Stored
	marks   map[int64][]mark // of each row's id the comments that say it is ours
}

// A mark is a comment that says that a row is ours.
type mark struct {
	id  int64
	key plan.Key
}

// read reads all rows of the zone, and which of them are ours.
func (rs *rows) read(ctx context.Context, c *sql.Conn) error {
	rs.marks = make(map[int64][]mark)
	if err := rs.readMarks(ctx, c); err != nil {
		return err
	}
	err := query(ctx, c, func(scan func(...any) error) error {
		s, err := scanRow(scan)
		s.Owned = slices.ContainsFunc(rs.marks[s.ID], func(m mark) bool { // the number alone may be another row's by now
			return strings.EqualFold(m.key.Name, s.Name) && m.key.Type == s.Type
		})
		rs.present = append(rs.present, s)
		return err
	}, "SELECT "+columns+" FROM records WHERE domain_id = ? LIMIT ?", rs.domain, maxRows+1)
	if err == nil && (len(rs.present) > maxRows || len(rs.marks) > maxRows) {
		err = &refusal{fmt.Sprintf("the zone has more than %d rows", maxRows)}
	}
	return err
}

const columns = "id, name, type, content, ttl, prio, disabled, ordername, auth"

// scanRow reads columns.
func scanRow(scan func(...any) error) (s plan.Stored, err error) {
	var name, kind, content, order sql.NullString
	var ttl, prio, disabled, auth sql.NullInt64
	err = scan(&s.ID, &name, &kind, &content, &ttl, &prio, &disabled, &order, &auth)
	s.Row = plan.Row{Name: name.String, Type: kind.String, Content: content.String, TTL: ttl.Int64, Prio: prio.Int64}
	s.Disabled, s.Auth = disabled.Int64 != 0, auth.Int64 != 0
	s.Order = plan.Ordername{Text: order.String, Set: order.Valid}
	return s, err
}

// readMarks reads the comments that mark rows.
func (rs *rows) readMarks(ctx context.Context, c *sql.Conn) error {
	return query(ctx, c, func(scan func(...any) error) error {
		var m mark
		var text, account string
		if err := scan(&m.id, &m.key.Name, &m.key.Type, &text, &account); err != nil || account != owner { // the server folds case
			return err
		}
		row, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			row = 0 // no row has it: the comment is taken away
		}
		rs.marks[row] = append(rs.marks[row], m)
		return nil
	}, "SELECT id, name, type, LEFT(comment, 32), account FROM comments WHERE domain_id = ? AND account = ? LIMIT ?", rs.domain, owner, maxRows+1)
}

// apply does what c says, here and in the database.
func (rs *rows) apply(ctx context.Context, c *sql.Conn, ch *plan.Changes) error {
	if err := rs.check(ctx, c, ch); err != nil {
		return err
	}
	if err := erase(ctx, c, "records", ch.Delete); err != nil {
		return err
	}
	if err := rs.update(ctx, c, ch.Update); err != nil {
		return err
	}
	gone := make(map[int64]bool, len(ch.Delete))
	for _, id := range ch.Delete {
		gone[id] = true
	}
	rs.present = slices.DeleteFunc(rs.present, func(s plan.Stored) bool { return gone[s.ID] })
	own, err := rs.insert(ctx, c, ch.Insert)
	if err != nil {
		return err
	}
	for _, m := range ch.Mark {
		own = append(own, claim{m.ID, m.Row})
		for i := range rs.present {
			if rs.present[i].ID == m.ID {
				rs.present[i].Owned = true
			}
		}
	}
	if err := rs.claim(ctx, c, own); err != nil {
		return err
	}
	return rs.eraseMarks(ctx, c)
}

// check locks the rows that are to be changed, and sees that they are the ones known.
func (rs *rows) check(ctx context.Context, c *sql.Conn, ch *plan.Changes) error {
	ids := slices.Clone(ch.Delete)
	for _, u := range ch.Update {
		ids = append(ids, u.ID)
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	known := make(map[int64]plan.Stored, len(ids))
	for _, s := range rs.present {
		if _, ok := slices.BinarySearch(ids, s.ID); ok {
			s.Owned = false
			known[s.ID] = s
		}
	}
	found := 0
	for batch := range slices.Chunk(ids, batchRows) {
		text, args := among("SELECT "+columns+" FROM records WHERE domain_id = ? AND id IN ", batch, rs.domain)
		err := query(ctx, c, func(scan func(...any) error) error {
			s, err := scanRow(scan)
			if err == nil && known[s.ID] != s {
				err = errUnknown
			}
			found++
			return err
		}, text+" FOR UPDATE", args...)
		if err != nil {
			return err
		}
	}
	if found != len(ids) {
		return errUnknown
	}
	return nil
}

// update writes rows that are there.
func (rs *rows) update(ctx context.Context, c *sql.Conn, us []plan.Change) error {
	at := make(map[int64]int, len(us))
	if len(us) > 0 {
		for i := range rs.present {
			at[rs.present[i].ID] = i
		}
	}
	for batch := range batches(us, func(u plan.Change) int { return len(u.Row.Content) + len(u.Row.Name) }) {
		args := make([]any, 0, 8*len(batch))
		for _, u := range batch {
			args = append(args, u.ID, rs.domain)
			args = append(args, values(u.Row, u.Order)...)
			s := &rs.present[at[u.ID]]
			*s = plan.Stored{ID: u.ID, Row: u.Row, Order: u.Order, Auth: true, Owned: s.Owned}
		}
		// All of them are there, and locked: it updates only.
		const one = "(?, ?, ?, ?, ?, ?, ?, 0, ?, 1)"
		if _, err := c.ExecContext(ctx, "INSERT INTO records (id, domain_id, name, type, content, ttl, prio, disabled, ordername, auth) VALUES "+
			one+strings.Repeat(", "+one, len(batch)-1)+" ON DUPLICATE KEY UPDATE name = VALUES(name), type = VALUES(type), content = VALUES(content), "+
			"ttl = VALUES(ttl), prio = VALUES(prio), disabled = 0, ordername = VALUES(ordername), auth = 1", args...); err != nil {
			return err
		}
	}
	return nil
}

// insert writes rows, and returns their ids.
func (rs *rows) insert(ctx context.Context, c *sql.Conn, ins []plan.Insert) (own []claim, err error) {
	for batch := range batches(ins, func(in plan.Insert) int { return len(in.Row.Content) + len(in.Row.Name) }) {
		args := make([]any, 0, 7*len(batch))
		for _, in := range batch {
			args = append(args, rs.domain)
			args = append(args, values(in.Row, in.Order)...)
		}
		const one = "(?, ?, ?, ?, ?, ?, 0, ?, 1)"
		r, err := c.ExecContext(ctx, "INSERT INTO records (domain_id, name, type, content, ttl, prio, disabled, ordername, auth) VALUES "+
			one+strings.Repeat(", "+one, len(batch)-1), args...)
		if err != nil {
			return nil, err
		}
		id, err := r.LastInsertId() // of the first one
		if err != nil {
			return nil, err
		}
		for _, in := range batch {
			rs.present = append(rs.present, plan.Stored{ID: id, Row: in.Row, Order: in.Order, Auth: true, Owned: true})
			own = append(own, claim{id, in.Row})
			id += rs.step
		}
	}
	return own, nil
}

// A claim says that the row of an id is ours.
type claim struct {
	id  int64
	row plan.Row
}

// claim marks rows as ours.
func (rs *rows) claim(ctx context.Context, c *sql.Conn, own []claim) error {
	now := time.Now().Unix()
	for batch := range slices.Chunk(own, batchRows) {
		args := make([]any, 0, 6*len(batch))
		for _, m := range batch {
			args = append(args, rs.domain, m.row.Name, m.row.Type, now, owner, strconv.FormatInt(m.id, 10))
		}
		const one = "(?, ?, ?, ?, ?, ?)"
		r, err := c.ExecContext(ctx, "INSERT INTO comments (domain_id, name, type, modified_at, account, comment) VALUES "+
			one+strings.Repeat(", "+one, len(batch)-1), args...)
		if err != nil {
			return err
		}
		id, err := r.LastInsertId()
		if err != nil {
			return err
		}
		for _, m := range batch {
			rs.marks[m.id] = append(rs.marks[m.id], mark{id, m.row.Key()})
			id += rs.step
		}
	}
	return nil
}

// eraseMarks takes away the comments of rows that are no more.
func (rs *rows) eraseMarks(ctx context.Context, c *sql.Conn) error {
	here := make(map[int64]bool, len(rs.present))
	for i := range rs.present {
		here[rs.present[i].ID] = rs.present[i].Owned
	}
	var gone []int64
	for row, ms := range rs.marks {
		if here[row] {
			continue
		}
		for _, m := range ms {
			gone = append(gone, m.id)
		}
		delete(rs.marks, row)
	}
	slices.Sort(gone)
	return erase(ctx, c, "comments", gone)
}

func erase(ctx context.Context, c *sql.Conn, table string, ids []int64) error {
	for batch := range slices.Chunk(ids, batchRows) {
		text, args := among("DELETE FROM "+table+" WHERE id IN ", batch)
		if _, err := c.ExecContext(ctx, text, args...); err != nil {
			return err
		}
	}
	return nil
}

// among completes a statement that ends in IN.
func among(text string, ids []int64, before ...any) (string, []any) {
	for _, id := range ids {
		before = append(before, id)
	}
	return text + "(?" + strings.Repeat(",?", len(ids)-1) + ")", before
}

// batches cuts a list into what one statement holds.
func batches[T any](list []T, size func(T) int) func(yield func([]T) bool) {
	return func(yield func([]T) bool) {
		for len(list) > 0 {
			n, bytes := 0, 0
			for n < len(list) && n < batchRows && (n == 0 || bytes < batchBytes) {
				bytes += size(list[n])
				n++
			}
			if !yield(list[:n]) {
				return
			}
			list = list[n:]
		}
	}
}

// values are those of name, type, content, ttl, prio and ordername.
func values(r plan.Row, o plan.Ordername) []any {
	out := []any{r.Name, nil, nil, nil, nil, nil}
	if r.Type != "" {
		out[1], out[2], out[3], out[4] = r.Type, r.Content, r.TTL, r.Prio
	}
	if o.Set {
		out[5] = o.Text
	}
	return out
}
