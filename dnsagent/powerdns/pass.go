package powerdns

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/dnsagent/powerdns/plan"
	"thor/dnsagent/zone"
	"thor/subjects"
)

const (
	passTimeout = 15 * time.Second // of one transaction
	lockWait    = 5 * time.Second  // for rows that others have locked
	maxRows     = 200_000          // of one zone; more are not the zone of a network
	batchRows   = 500              // of one statement
	batchBytes  = 256 << 10
)

// owner is what marks comments as ours: each row of ours has a comment of this
// account, with the row's id as its text.
const owner = "thor"

// Kinds of metadata of a zone.
const (
	kindMark   = "X-THOR" // the mark of the status that the rows are of
	kindLua    = "ENABLE-LUA-RECORDS"
	kindNSEC3  = "NSEC3PARAM"
	kindNarrow = "NSEC3NARROW"
)

// A job is what one pass is to bring about.
type job struct {
	zone      *zone.Zone
	set       *plan.Set
	lua       bool // the set needs PowerDNS to run Lua
	confirmed bool // the status is the present one, as a manager says
	behind    time.Duration
}

// A result says what a pass did.
type result struct {
	behind                    bool // nothing: the rows are of a later status
	created                   bool // the zone was not there
	primary                   bool // other servers transfer the zone
	noLua                     bool // the operator has switched Lua off for the zone
	changed                   bool
	serial                    uint32
	inserted, updated, erased int
	foreign                   int
	conflicts                 []string
}

// pass compares the rows of the zone with the job's and changes what differs, in
// one transaction. A session on which it failed is not to be used again.
func (s *session) pass(ctx context.Context, j *job, kind string) (*result, error) {
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	if _, err := s.conn.ExecContext(ctx, "START TRANSACTION"); err != nil {
		return nil, err
	}
	p := &pass{conn: s.conn, job: j, kind: kind, apex: strings.TrimSuffix(j.zone.Apex(), ".")}
	end := "COMMIT"
	err := p.run(ctx)
	if err == nil && p.behind {
		end = "ROLLBACK"
	}
	if err != nil {
		return nil, err // the session ends, and with it the transaction
	}
	if _, err := s.conn.ExecContext(ctx, end); err != nil {
		return nil, err
	}
	return &p.result, nil
}

type pass struct {
	result
	conn    *sql.Conn
	job     *job
	kind    string
	apex    string
	domain  int64
	meta    map[string]string
	present []plan.Stored
	marks   map[int64][]int64 // of each row id the ids of the comments that say so
}

func (p *pass) run(ctx context.Context) error {
	if err := p.findDomain(ctx); err != nil {
		return err
	}
	if err := p.readMetadata(ctx); err != nil {
		return err
	}
	p.noLua = p.meta[kindLua] != "" && p.meta[kindLua] != "1"
	stored, digest := parseMark(p.meta[kindMark])
	own := p.job.zone.Mark()
	if !plan.MayWrite(own, stored, p.job.confirmed, p.job.behind) {
		p.behind = true
		return nil
	}
	if err := p.readRows(ctx); err != nil {
		return err
	}
	_, narrow := p.meta[kindNarrow]
	c := plan.Diff(p.present, plan.Wish{
		Rows: p.job.set.Rows, Apex: p.apex, Generation: p.job.zone.Serial(),
		Raise: p.primary || stored != own || digest != p.job.zone.Digest(),
		Order: plan.ParseOrder(p.apex, p.meta[kindNSEC3], narrow),
	})
	p.serial, p.foreign, p.conflicts = c.Serial, c.Foreign, c.Conflicts
	if err := p.apply(ctx, c); err != nil {
		return err
	}
	if p.job.lua && p.meta[kindLua] == "" {
		if err := p.setMetadata(ctx, kindLua, "1"); err != nil {
			return err
		}
	}
	return p.setMetadata(ctx, kindMark, formatMark(own, p.job.zone.Digest()))
}

// findDomain finds the zone and locks it, or makes it.
func (p *pass) findDomain(ctx context.Context) error {
	var kind string
	err := p.conn.QueryRowContext(ctx, "SELECT id, type FROM domains WHERE name = ? FOR UPDATE", p.apex).Scan(&p.domain, &kind)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		kind = p.kind
		if err := p.makeDomain(ctx); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	kind = strings.ToUpper(kind)
	p.primary = kind == "MASTER" || kind == "PRODUCER"
	if !p.primary && kind != "NATIVE" {
		return &refusal{fmt.Sprintf("the zone %s is of the type %s: another server writes it", p.apex, subjects.Printable(kind, 8))}
	}
	return nil
}

// makeDomain makes the zone, by the number that rows of ours remember: PowerDNS
// keeps it for minutes.
func (p *pass) makeDomain(ctx context.Context) error {
	var id sql.NullInt64
	err := p.conn.QueryRowContext(ctx,
		"SELECT domain_id FROM comments WHERE account = ? AND type = 'SOA' AND name = ? AND domain_id NOT IN (SELECT id FROM domains) LIMIT 1", owner, p.apex).Scan(&id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	r, err := p.conn.ExecContext(ctx, "INSERT INTO domains (id, name, type, account) VALUES (?, ?, ?, ?)", id, p.apex, p.kind, owner)
	if err != nil {
		return err
	}
	p.created = true
	if p.domain = id.Int64; !id.Valid {
		p.domain, err = r.LastInsertId()
	}
	return err
}

func (p *pass) readMetadata(ctx context.Context) error {
	p.meta = make(map[string]string)
	return query(ctx, p.conn, func(scan func(...any) error) error {
		var kind, content sql.NullString
		err := scan(&kind, &content)
		p.meta[strings.ToUpper(kind.String)] = content.String
		return err
	}, "SELECT kind, content FROM domainmetadata WHERE domain_id = ?", p.domain)
}

// setMetadata makes content the only one of its kind.
func (p *pass) setMetadata(ctx context.Context, kind, content string) error {
	if p.meta[kind] == content {
		return nil
	}
	if _, ok := p.meta[kind]; ok {
		if _, err := p.conn.ExecContext(ctx, "DELETE FROM domainmetadata WHERE domain_id = ? AND kind = ?", p.domain, kind); err != nil {
			return err
		}
	}
	_, err := p.conn.ExecContext(ctx, "INSERT INTO domainmetadata (domain_id, kind, content) VALUES (?, ?, ?)", p.domain, kind, content)
	return err
}

// readRows reads all rows of the zone, and which of them are ours.
func (p *pass) readRows(ctx context.Context) error {
	p.marks = make(map[int64][]int64)
	err := query(ctx, p.conn, func(scan func(...any) error) error {
		var id int64
		var text, account string
		if err := scan(&id, &text, &account); err != nil || account != owner { // the server folds case
			return err
		}
		row, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			row = 0 // no row has it: the comment is taken away
		}
		p.marks[row] = append(p.marks[row], id)
		return nil
	}, "SELECT id, LEFT(comment, 32), account FROM comments WHERE domain_id = ? AND account = ? LIMIT ?", p.domain, owner, maxRows+1)
	if err != nil {
		return err
	}
	err = query(ctx, p.conn, func(scan func(...any) error) error {
		var s plan.Stored
		var name, kind, content, order sql.NullString
		var ttl, prio, disabled, auth sql.NullInt64
		if err := scan(&s.ID, &name, &kind, &content, &ttl, &prio, &disabled, &order, &auth); err != nil {
			return err
		}
		s.Row = plan.Row{Name: name.String, Type: kind.String, Content: content.String, TTL: ttl.Int64, Prio: prio.Int64}
		s.Disabled, s.Auth = disabled.Int64 != 0, auth.Int64 != 0
		s.Order = plan.Ordername{Text: order.String, Set: order.Valid}
		s.Owned = len(p.marks[s.ID]) > 0
		p.present = append(p.present, s)
		return nil
	}, "SELECT id, name, type, content, ttl, prio, disabled, ordername, auth FROM records WHERE domain_id = ? LIMIT ?", p.domain, maxRows+1)
	if err == nil && (len(p.present) > maxRows || len(p.marks) > maxRows) {
		err = &refusal{fmt.Sprintf("the zone %s has more than %d rows", p.apex, maxRows)}
	}
	return err
}

// apply does what c says.
func (p *pass) apply(ctx context.Context, c *plan.Changes) error {
	if err := p.erase(ctx, "records", c.Delete); err != nil {
		return err
	}
	for _, u := range c.Update {
		r := u.Row
		_, err := p.conn.ExecContext(ctx,
			"UPDATE records SET name = ?, type = ?, content = ?, ttl = ?, prio = ?, disabled = 0, ordername = ?, auth = 1 WHERE id = ?",
			r.Name, null(r.Type), text(r), number(r, r.TTL), number(r, r.Prio), order(u.Order), u.ID)
		if err != nil {
			return err
		}
	}
	if err := p.insert(ctx, c.Insert); err != nil {
		return err
	}
	own := make([]mark, 0, len(c.Mark))
	for _, s := range c.Mark {
		own = append(own, mark{s.ID, s.Row})
	}
	if err := p.mark(ctx, own); err != nil {
		return err
	}
	p.inserted, p.updated, p.erased = len(c.Insert), len(c.Update), len(c.Delete)
	p.changed = p.created || !c.Empty()
	return p.eraseMarks(ctx, c.Delete)
}

// eraseMarks takes away the comments of rows that are no more.
func (p *pass) eraseMarks(ctx context.Context, deleted []int64) error {
	here := make(map[int64]bool, len(p.present))
	for _, s := range p.present {
		here[s.ID] = true
	}
	for _, id := range deleted {
		delete(here, id)
	}
	var gone []int64
	for row, ids := range p.marks {
		if !here[row] {
			gone = append(gone, ids...)
		}
	}
	slices.Sort(gone)
	return p.erase(ctx, "comments", gone)
}

func (p *pass) erase(ctx context.Context, table string, ids []int64) error {
	for batch := range slices.Chunk(ids, batchRows) {
		args := make([]any, len(batch))
		for i, id := range batch {
			args[i] = id
		}
		if _, err := p.conn.ExecContext(ctx, "DELETE FROM "+table+" WHERE id IN (?"+strings.Repeat(",?", len(batch)-1)+")", args...); err != nil {
			return err
		}
	}
	return nil
}

// insert writes rows and marks them as ours.
func (p *pass) insert(ctx context.Context, rows []plan.Insert) error {
	var first int64
	for batch := range batches(rows) {
		args := make([]any, 0, 8*len(batch))
		for _, in := range batch {
			r := in.Row
			args = append(args, p.domain, r.Name, null(r.Type), text(r), number(r, r.TTL), number(r, r.Prio), order(in.Order))
		}
		const one = "(?, ?, ?, ?, ?, ?, 0, ?, 1)"
		r, err := p.conn.ExecContext(ctx, "INSERT INTO records (domain_id, name, type, content, ttl, prio, disabled, ordername, auth) VALUES "+
			one+strings.Repeat(", "+one, len(batch)-1), args...)
		if err != nil {
			return err
		}
		if first == 0 {
			if first, err = r.LastInsertId(); err != nil {
				return err
			}
		}
	}
	if first == 0 {
		return nil
	}
	return p.markInserted(ctx, rows, first)
}

// markInserted marks the rows that were inserted: the transaction sees none that
// others inserted since it began.
func (p *pass) markInserted(ctx context.Context, rows []plan.Insert, first int64) error {
	before := make(map[int64]bool)
	for _, s := range p.present {
		before[s.ID] = s.ID >= first
	}
	var own []mark
	err := query(ctx, p.conn, func(scan func(...any) error) error {
		var m mark
		var name, kind sql.NullString
		err := scan(&m.id, &name, &kind)
		m.row.Name, m.row.Type = name.String, kind.String
		if !before[m.id] {
			own = append(own, m)
		}
		return err
	}, "SELECT id, name, type FROM records WHERE domain_id = ? AND id >= ?", p.domain, first)
	if err == nil && len(own) != len(rows) {
		err = fmt.Errorf("%d rows were inserted, and %d are there", len(rows), len(own))
	}
	if err != nil {
		return err
	}
	return p.mark(ctx, own)
}

// A mark says that the row of an id is ours.
type mark struct {
	id  int64
	row plan.Row
}

func (p *pass) mark(ctx context.Context, own []mark) error {
	now := time.Now().Unix()
	for batch := range slices.Chunk(own, batchRows) {
		args := make([]any, 0, 6*len(batch))
		for _, m := range batch {
			args = append(args, p.domain, m.row.Name, m.row.Type, now, owner, strconv.FormatInt(m.id, 10))
		}
		const one = "(?, ?, ?, ?, ?, ?)"
		if _, err := p.conn.ExecContext(ctx, "INSERT INTO comments (domain_id, name, type, modified_at, account, comment) VALUES "+
			one+strings.Repeat(", "+one, len(batch)-1), args...); err != nil {
			return err
		}
	}
	return nil
}

// batches cuts rows into what one statement holds.
func batches(rows []plan.Insert) func(yield func([]plan.Insert) bool) {
	return func(yield func([]plan.Insert) bool) {
		for len(rows) > 0 {
			n, size := 0, 0
			for n < len(rows) && n < batchRows && (n == 0 || size < batchBytes) {
				size += len(rows[n].Row.Content) + len(rows[n].Row.Name)
				n++
			}
			if !yield(rows[:n]) {
				return
			}
			rows = rows[n:]
		}
	}
}

// null is NULL for an empty text.
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// text and number are the values of columns that a name without records has not.
func text(r plan.Row) any { return null(r.Content) }

func number(r plan.Row, n int64) any {
	if r.Type == "" {
		return nil
	}
	return n
}

func order(o plan.Ordername) any {
	if !o.Set {
		return nil
	}
	return o.Text
}

// formatMark is what a zone's metadata say of the status that its rows are of.
func formatMark(m subjects.Mark, digest string) string {
	return fmt.Sprintf("%d %d %s", m.Epoch, m.Generation, digest)
}

// parseMark reads it; what cannot be read is as none.
func parseMark(s string) (m subjects.Mark, digest string) {
	f := strings.Fields(s)
	if len(f) != 3 {
		return m, ""
	}
	e, err1 := strconv.ParseUint(f[0], 10, 64)
	g, err2 := strconv.ParseUint(f[1], 10, 64)
	if err1 != nil || err2 != nil || !(subjects.Mark{Epoch: e, Generation: g}).Sane() {
		return m, ""
	}
	return subjects.Mark{Epoch: e, Generation: g}, f[2]
}
