package store

import (
	"database/sql"
	"slices"
	"strings"

	"thor/overlay/subscriber"
	"thor/provisioning/ngnpro"
	"thor/subjects"
)

// A kind is what a key is. The numbers are in the database.
type kind int

const (
	deleted kind = iota
	account
	alias
)

// A change is what became of a key.
type change struct {
	id ngnpro.SipID
	is kind
}

// claim takes a key for a new account or alias, and holds it until the
// transaction ends, so that no other transaction takes it.
func (t *tx) claim(id ngnpro.SipID) error {
	const lock = "INSERT INTO sip_revisions (domain, username, change_date) VALUES (?, ?, UTC_TIMESTAMP()) ON DUPLICATE KEY UPDATE revision = revision"
	n, err := t.affects(lock, id.Domain, id.Username)
	if err != nil || n == 1 {
		return err // 1: it was not there
	}
	var k kind
	const is = "SELECT kind FROM sip_revisions WHERE domain = ? AND username = ? FOR UPDATE"
	if _, err := t.row(is, []any{id.Domain, id.Username}, []any{&k}); err != nil {
		return err
	}
	switch k {
	case account:
		return ngnpro.ErrAccountExists.With("%s is a SIP account already", id.Key())
	case alias:
		return ngnpro.ErrAliasExists.With("%s is a SIP alias already", id.Key())
	}
	return nil
}

// next is the next revision. From here on no other transaction gets one before
// this one has ended: it is called last, and only bump's statements follow. A
// revision is also not below the database's time in milliseconds, so that after
// changing to a replica that lacks the newest changes, revisions rise
// nevertheless.
func (t *tx) next() (uint64, error) { return t.count("revision") }

// count is next for the counter with a name.
func (t *tx) count(name string) (uint64, error) {
	const q = "UPDATE sip_counters SET value = LAST_INSERT_ID(GREATEST(value + 1, CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS UNSIGNED))) WHERE name = ?"
	r, err := t.exec(q, name)
	if err != nil {
		return 0, err
	}
	n, err := r.LastInsertId()
	return uint64(n), err
}

// bump gives all keys that changed the next revision and notes that nodes have
// to hear of it.
func (t *tx) bump(cs ...change) (Notices, error) {
	slices.SortFunc(cs, func(a, b change) int { return strings.Compare(a.id.Key(), b.id.Key()) })
	cs = slices.CompactFunc(cs, func(a, b change) bool { return a.id == b.id })
	rev, err := t.next()
	if err != nil {
		return nil, err
	}
	const q = "INSERT INTO sip_revisions (domain, username, kind, revision, pending, change_date) VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP())" +
		" ON DUPLICATE KEY UPDATE kind = VALUES(kind), revision = VALUES(revision), pending = VALUES(pending), change_date = VALUES(change_date)"
	ns := make(Notices, 0, len(cs))
	for _, c := range cs {
		if _, err := t.exec(q, c.id.Domain, c.id.Username, c.is, rev, rev); err != nil {
			return nil, err
		}
		ns = append(ns, notice(c.id, rev, c.is))
	}
	return ns, nil
}

// bumpDomain is bump for all that is in a domain. All other changes wait while its
// rows are written, which is as long as there are many: a domain of some size is
// moved when little else happens. It takes them after next, as bump does: a row
// taken before would be one that another change, which has next, waits for.
func (t *tx) bumpDomain(domain string) (ns Notices, err error) {
	rev, err := t.next()
	if err != nil {
		return nil, err
	}
	const update = "UPDATE sip_revisions SET revision = ?, pending = ?, change_date = UTC_TIMESTAMP() WHERE domain = ? AND kind <> 0"
	if _, err := t.exec(update, rev, rev, domain); err != nil {
		return nil, err
	}
	const changed = "SELECT username, kind FROM sip_revisions WHERE domain = ? AND kind <> 0 ORDER BY username"
	err = t.rows(changed, []any{domain}, func(r *sql.Rows) error {
		c := change{id: ngnpro.SipID{Domain: domain}}
		err := r.Scan(&c.id.Username, &c.is)
		ns = append(ns, notice(c.id, rev, c.is))
		return err
	})
	return ns, err
}

func notice(id ngnpro.SipID, rev uint64, k kind) subscriber.Notice {
	return subscriber.Notice{V: subjects.Version, Key: id.Key(), Revision: rev, Deleted: k == deleted}
}
