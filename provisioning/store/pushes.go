package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"thor/overlay/subscriber"
	"thor/provisioning/ngnpro"
	"thor/subjects"
)

// pushes are profiles of subscribers, and what nodes have not heard of yet.
type pushes struct{ *backend }

// Subscriber is what the node responsible for key is to hold.
func (s pushes) Subscriber(ctx context.Context, key string) (x *subscriber.Profile, err error) {
	user, domain, _ := strings.Cut(key, "@")
	id := ngnpro.SipID{Username: user, Domain: domain}
	err = s.snapshot(ctx, "read subscriber", func(t *tx) error {
		x = &subscriber.Profile{V: subjects.Version, Key: id.Key(), Deleted: true}
		var k kind
		const q = "SELECT kind, revision FROM sip_revisions WHERE domain = ? AND username = ?"
		if _, err := t.row(q, []any{id.Domain, id.Username}, []any{&k, &x.Revision}); err != nil {
			return err
		}
		switch k {
		case account:
			return t.fill(x, id)
		case alias:
			a, err := t.alias(ngnpro.Viewer{Admin: true}, id, unlocked)
			if err == nil {
				x.Deleted, x.AliasOf = false, a.Target.Key()
			}
			return err
		}
		// Who claims a name in a domain that is served has to have it.
		var one int
		x.Served, err = t.row("SELECT 1 FROM sip_domains WHERE domain = ?", []any{id.Domain}, []any{&one})
		return err
	})
	return x, err
}

// fill makes x the profile of an account.
func (t *tx) fill(x *subscriber.Profile, id ngnpro.SipID) error {
	a, err := t.subscriber(ngnpro.Viewer{Admin: true}, id, unlocked)
	if err != nil {
		return err
	}
	p := a.profile
	x.Deleted = false
	x.Username = id.Username
	x.Domain = id.Domain
	x.HA1 = p.HA1
	x.HA1B = p.HA1B
	x.FirstName = *a.first
	x.LastName = *a.last
	x.Email = *a.email
	x.Timezone = p.Timezone
	x.RPID = p.RPID
	x.Region = p.Region
	x.Quickdial = p.Quickdial
	x.Prepaid = p.Prepaid
	x.Quota = p.Quota
	x.CallLimit = p.CallLimit
	x.Timeout = p.Timeout
	x.Owner = *a.owner
	x.Customer = a.party.customer
	x.Reseller = a.party.reseller
	x.Groups = p.Groups
	x.Diversions = p.Diversions
	x.Barring = p.Barring
	x.Reject = p.Reject
	x.Accept = p.accept()
	if x.Accept != nil {
		if x.Accept.Members, err = t.members(id, x.Accept); err != nil {
			return err
		}
	}
	for _, n := range p.ACL {
		x.ACL = append(x.ACL, n.cidr())
	}
	for _, y := range p.Properties {
		if x.Properties == nil {
			x.Properties = make(map[string]string)
		}
		x.Properties[y.Name] = y.Value
	}
	const mailbox = "SELECT mailbox FROM voicemail_accounts WHERE username = ? AND domain = ?"
	if _, err := t.row(mailbox, []any{id.Username, id.Domain}, []any{&x.Mailbox}); err != nil {
		return err
	}
	ids, err := t.aliases(id, unlocked)
	for _, y := range ids {
		x.Aliases = append(x.Aliases, y.Key())
	}
	return err
}

// accept are the rules for a node, nil for none.
func (p *profile) accept() *subscriber.Accept {
	if len(p.Persistent) == 0 && (p.Temporary == nil || p.Temporary.expired(time.Now())) {
		return nil
	}
	x := &subscriber.Accept{}
	for _, r := range p.Persistent {
		x.Persistent = append(x.Persistent, subscriber.AcceptRule{Start: r.Start, Stop: r.Stop, Days: r.Days, Groups: r.Groups})
	}
	if p.Temporary != nil && !p.Temporary.expired(time.Now()) {
		x.Temporary = &subscriber.TemporaryAccept{Groups: p.Temporary.Groups, Until: p.Temporary.Until}
	}
	return x
}

// Changes lists what changed after a revision.
func (s pushes) Changes(ctx context.Context, since uint64) (c *subscriber.ChangedKeys, err error) {
	err = s.snapshot(ctx, "read changes", func(t *tx) error {
		c = &subscriber.ChangedKeys{V: subjects.Version}
		var trimmed uint64
		const counters = "SELECT (SELECT value FROM sip_counters WHERE name = 'revision'), (SELECT value FROM sip_counters WHERE name = 'trimmed')"
		if _, err := t.row(counters, nil, []any{&c.Through, &trimmed}); err != nil {
			return err
		}
		// A node that is ahead heard of changes that this database lacks.
		if since < trimmed || since > c.Through {
			c.All = true
			return nil
		}
		const q = "SELECT username, domain, revision FROM sip_revisions WHERE revision > ? ORDER BY revision, domain, username LIMIT ?"
		err := t.rows(q, []any{since, subscriber.MaxKeys + 1}, func(r *sql.Rows) error {
			var id ngnpro.SipID
			var rev uint64
			err := r.Scan(&id.Username, &id.Domain, &rev)
			c.Keys, c.Revisions = append(c.Keys, id.Key()), append(c.Revisions, rev)
			return err
		})
		if len(c.Keys) > subscriber.MaxKeys {
			c.Keys = nil
			c.Revisions = nil
			c.All = true
		}
		return err
	})
	return c, err
}

// Pending lists pushes that are not acknowledged, the oldest first.
func (s pushes) Pending(ctx context.Context, limit int) (ns Notices, err error) {
	err = s.look(ctx, "read pending pushes", func(t *tx) error {
		ns = nil
		const q = "SELECT username, domain, kind, pending FROM sip_revisions WHERE pending IS NOT NULL ORDER BY pending, domain, username LIMIT ?"
		return t.rows(q, []any{limit}, func(r *sql.Rows) error {
			var c change
			var rev uint64
			err := r.Scan(&c.id.Username, &c.id.Domain, &c.is, &rev)
			ns = append(ns, notice(c.id, rev, c.is))
			return err
		})
	})
	return ns, err
}

// Acknowledge ends the pushes of these keys up to their revisions.
func (s pushes) Acknowledge(ctx context.Context, ns Notices) error {
	return s.write(ctx, "acknowledge pushes", func(t *tx) error {
		for _, n := range ns {
			user, domain, _ := strings.Cut(n.Key, "@")
			const q = "UPDATE sip_revisions SET pending = NULL WHERE domain = ? AND username = ? AND pending <= ?"
			if _, err := t.exec(q, domain, user, n.Revision); err != nil {
				return err
			}
		}
		return nil
	})
}

// trimAtOnce bounds a transaction of Trim.
const trimAtOnce = 500

// Trim forgets keys that were deleted longer ago than Config.KeepDeleted and
// that no push waits for, and tells how many. Run does it once an hour.
func (s *Store) Trim(ctx context.Context) (n int, err error) {
	for {
		var some int64
		err := s.write(ctx, "trim revisions", func(t *tx) error {
			some = 0
			var last sql.NullInt64
			const old = "SELECT MAX(revision) FROM (SELECT revision FROM sip_revisions WHERE kind = 0 AND pending IS NULL" +
				" AND change_date < UTC_TIMESTAMP() - INTERVAL ? SECOND ORDER BY revision LIMIT ?) x"
			age := int64(s.cfg.KeepDeleted.Seconds())
			if _, err := t.row(old, []any{age, trimAtOnce}, []any{&last}); err != nil || !last.Valid {
				return err
			}
			const trim = "DELETE FROM sip_revisions WHERE kind = 0 AND pending IS NULL AND change_date < UTC_TIMESTAMP() - INTERVAL ? SECOND AND revision <= ?"
			if some, err = t.affects(trim, age, last.Int64); err != nil {
				return err
			}
			_, err := t.exec("UPDATE sip_counters SET value = GREATEST(value, ?) WHERE name = 'trimmed'", last.Int64)
			return err
		})
		n += int(some)
		if err != nil || some == 0 {
			return n, err
		}
	}
}
