package powerdns

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	whole     bool // compare with all rows that there are, not with those that are known
	confirmed bool // the status is the present one, as a manager says
	laterFor  time.Duration
}

// A result says what a pass did.
type result struct {
	rowsLater                 bool // nothing: the rows are of a later status
	created                   bool // the zone was not there
	primary                   bool // other servers transfer the zone
	luaForbidden              bool // the operator has switched Lua off for the zone
	changed                   bool
	whole                     bool // all rows were compared
	serial                    uint32
	inserted, updated, erased int
	foreign                   int
	conflicts                 []string
}

// errUnknown is a row that is not as the session knows it: others changed it.
var errUnknown = errors.New("rows have changed")

// pass compares the rows of the zone with the job's and changes what differs, in
// one transaction. A session on which it failed is not to be used again.
func (s *session) pass(ctx context.Context, j *job, kind string) (*result, error) {
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	known := s.known
	if j.whole {
		known = nil
	}
	r, err := s.attempt(ctx, j, kind, known)
	if errors.Is(err, errUnknown) {
		if _, err = s.conn.ExecContext(ctx, "ROLLBACK"); err == nil {
			r, err = s.attempt(ctx, j, kind, nil)
		}
	}
	return r, err
}

func (s *session) attempt(ctx context.Context, j *job, kind string, known *rows) (*result, error) {
	s.known = nil // until it is certain
	p := &pass{conn: s.conn, job: j, kind: kind, apex: strings.TrimSuffix(j.zone.Apex(), "."), rows: known, step: s.step}
	if err := p.run(ctx); err != nil {
		return nil, err // the session ends, and with it the transaction
	}
	if p.rowsLater {
		_, err := s.conn.ExecContext(ctx, "ROLLBACK")
		return &p.result, err
	}
	p.batch.add(nil, "COMMIT")
	if err := p.batch.run(ctx, s.conn); err != nil {
		return nil, err
	}
	s.known = p.rows
	return &p.result, nil
}

type pass struct {
	result
	conn   *sql.Conn
	job    *job
	kind   string
	apex   string
	domain int64
	meta   map[string]string
	rows   *rows // nil: they have to be read
	step   int64
	batch  batch // what is written
}

func (p *pass) run(ctx context.Context) error {
	if err := p.findDomain(ctx); err != nil {
		return err
	}
	p.luaForbidden = p.meta[kindLua] != "" && p.meta[kindLua] != "1"
	stored, digest := parseMark(p.meta[kindMark])
	own := p.job.zone.Mark()
	if !plan.MayWrite(own, stored, p.job.confirmed, p.job.laterFor) {
		p.rowsLater = true
		return nil
	}
	if p.rows == nil || p.rows.domain != p.domain || p.rows.mark != p.meta[kindMark] {
		p.whole = true
		p.rows = &rows{domain: p.domain, step: p.step}
		if err := p.rows.read(ctx, p.conn); err != nil {
			return err
		}
	}
	_, narrow := p.meta[kindNarrow]
	c := plan.Diff(p.rows.present, plan.Wish{
		Rows: p.job.set.Rows, Apex: p.apex, Generation: p.job.zone.Serial(),
		Raise: p.primary || stored != own || digest != p.job.zone.Digest(),
		Order: plan.ParseOrder(p.apex, p.meta[kindNSEC3], narrow),
	})
	p.serial, p.foreign, p.conflicts = c.Serial, c.Foreign, c.Conflicts
	if err := p.rows.apply(ctx, p.conn, c, &p.batch); err != nil {
		return err
	}
	p.inserted, p.updated, p.erased = len(c.Insert), len(c.Update), len(c.Delete)
	p.changed = p.created || !c.Empty()
	if p.job.lua && p.meta[kindLua] == "" {
		p.setMetadata(kindLua, "1")
	}
	p.rows.mark = formatMark(own, p.job.zone.Digest())
	p.setMetadata(kindMark, p.rows.mark)
	return nil
}

// findDomain finds the zone and its metadata and locks them, or makes the zone.
func (p *pass) findDomain(ctx context.Context) error {
	kind := ""
	p.meta = make(map[string]string)
	err := query(ctx, p.conn, func(scan func(...any) error) error {
		var what, content sql.NullString
		err := scan(&p.domain, &kind, &what, &content)
		p.meta[strings.ToUpper(what.String)] = content.String
		return err
	}, "SELECT d.id, d.type, m.kind, m.content FROM domains d LEFT JOIN domainmetadata m ON m.domain_id = d.id AND m.kind IN (?, ?, ?, ?) WHERE d.name = ? FOR UPDATE",
		kindMark, kindLua, kindNSEC3, kindNarrow, p.apex)
	if err == nil && kind == "" {
		kind, err = p.kind, p.makeDomain(ctx)
	}
	if err != nil {
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

// setMetadata has content be written as that of a kind.
func (p *pass) setMetadata(kind, content string) {
	old, ok := p.meta[kind]
	switch {
	case !ok:
		p.batch.add(nil, "INSERT INTO domainmetadata (domain_id, kind, content) VALUES (?, ?, ?)", p.domain, kind, content)
	case old != content:
		p.batch.add(nil, "UPDATE domainmetadata SET content = ? WHERE domain_id = ? AND kind = ?", content, p.domain, kind)
	}
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
