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

// apply adds to b what ch says, and does it here. The rows are locked.
func (rs *rows) apply(ctx context.Context, c *sql.Conn, ch *plan.Changes, b *batch) error {
	if err := rs.check(ctx, c, ch); err != nil {
		return err
	}
	erase(b, "records", ch.Delete)
	rs.update(b, ch.Update)
	gone := make(map[int64]bool, len(ch.Delete))
	for _, id := range ch.Delete {
		gone[id] = true
	}
	rs.present = slices.DeleteFunc(rs.present, func(s plan.Stored) bool { return gone[s.ID] })
	rs.claim(b, ch.Mark)
	rs.eraseMarks(b)
	rs.insert(b, ch.Insert)
	return nil
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
func (rs *rows) update(b *batch, us []plan.Change) {
	at := make(map[int64]int, len(us))
	if len(us) > 0 {
		for i := range rs.present {
			at[rs.present[i].ID] = i
		}
	}
	for part := range parts(us, func(u plan.Change) int { return len(u.Row.Content) + len(u.Row.Name) }) {
		args := make([]any, 0, 8*len(part))
		for _, u := range part {
			args = append(args, u.ID, rs.domain)
			args = append(args, values(u.Row, u.Order)...)
			s := &rs.present[at[u.ID]]
			*s = plan.Stored{ID: u.ID, Row: u.Row, Order: u.Order, Auth: true, Owned: s.Owned}
		}
		// All of them are there, and locked: it updates only.
		b.add(nil, "INSERT INTO records (id, domain_id, name, type, content, ttl, prio, disabled, ordername, auth) VALUES "+
			tuples("(?, ?, ?, ?, ?, ?, ?, 0, ?, 1)", len(part))+" ON DUPLICATE KEY UPDATE name = VALUES(name), type = VALUES(type), content = VALUES(content), "+
			"ttl = VALUES(ttl), prio = VALUES(prio), disabled = 0, ordername = VALUES(ordername), auth = 1", args...)
	}
}

// insert writes rows and marks them as ours: the server numbers the rows of one statement
// one after the other.
func (rs *rows) insert(b *batch, ins []plan.Insert) {
	now := time.Now().Unix()
	for part := range parts(ins, func(in plan.Insert) int { return len(in.Row.Content) + len(in.Row.Name) }) {
		args, marks := make([]any, 0, 7*len(part)), make([]any, 0, 6*len(part))
		for i, in := range part {
			args = append(args, rs.domain)
			args = append(args, values(in.Row, in.Order)...)
			marks = append(marks, rs.domain, in.Row.Name, in.Row.Type, now, owner, int64(i)*rs.step)
		}
		var first int64
		b.add(func(id int64) { first = id }, "INSERT INTO records (domain_id, name, type, content, ttl, prio, disabled, ordername, auth) VALUES "+
			tuples("(?, ?, ?, ?, ?, ?, 0, ?, 1)", len(part)), args...)
		b.add(func(id int64) {
			for i, in := range part {
				step := int64(i) * rs.step
				rs.present = append(rs.present, plan.Stored{ID: first + step, Row: in.Row, Order: in.Order, Auth: true, Owned: true})
				rs.marks[first+step] = append(rs.marks[first+step], mark{id + step, in.Row.Key()})
			}
		}, insertMarks+tuples("(?, ?, ?, ?, ?, LAST_INSERT_ID() + ?)", len(part)), marks...)
	}
}

const insertMarks = "INSERT INTO comments (domain_id, name, type, modified_at, account, comment) VALUES "

// claim marks rows that are there as ours.
func (rs *rows) claim(b *batch, own []plan.Stored) {
	ids := make(map[int64]bool, len(own))
	for _, s := range own {
		ids[s.ID] = true
	}
	for i := range rs.present {
		if s := &rs.present[i]; ids[s.ID] {
			s.Owned = true
		}
	}
	now := time.Now().Unix()
	for part := range slices.Chunk(own, batchRows) {
		args := make([]any, 0, 6*len(part))
		for _, s := range part {
			args = append(args, rs.domain, s.Name, s.Type, now, owner, strconv.FormatInt(s.ID, 10))
		}
		b.add(func(id int64) {
			for i, s := range part {
				rs.marks[s.ID] = append(rs.marks[s.ID], mark{id + int64(i)*rs.step, s.Key()})
			}
		}, insertMarks+tuples("(?, ?, ?, ?, ?, ?)", len(part)), args...)
	}
}

// eraseMarks takes away the comments of rows that are no more, or others' by now.
func (rs *rows) eraseMarks(b *batch) {
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
	erase(b, "comments", gone)
}

func erase(b *batch, table string, ids []int64) {
	for part := range slices.Chunk(ids, batchRows) {
		text, args := among("DELETE FROM "+table+" WHERE id IN ", part)
		b.add(nil, text, args...)
	}
}

// tuples is one, so many times.
func tuples(one string, n int) string { return one + strings.Repeat(", "+one, n-1) }

// among completes a statement that ends in IN.
func among(text string, ids []int64, before ...any) (string, []any) {
	for _, id := range ids {
		before = append(before, id)
	}
	return text + "(?" + strings.Repeat(",?", len(ids)-1) + ")", before
}

// parts cuts a list into what one statement holds.
func parts[T any](list []T, size func(T) int) func(yield func([]T) bool) {
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
