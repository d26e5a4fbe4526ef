package store

import (
	"context"
	"database/sql"

	"thor/overlay/subscriber"
	"thor/provisioning/ngnpro"
)

// phonebook is contacts of subscribers.
type phonebook struct{ *backend }

// phonebookGroups are the groups of a phonebook that have entries.
func (t *tx) phonebookGroups(id ngnpro.SipID) (gs []string, err error) {
	const q = "SELECT DISTINCT grp FROM sip_phonebook WHERE username = ? AND domain = ? AND grp <> '' ORDER BY grp"
	err = t.rows(q, []any{id.Username, id.Domain}, func(r *sql.Rows) error {
		var g string
		err := r.Scan(&g)
		gs = append(gs, g)
		return err
	})
	return gs, err
}

func checkEntry(e *ngnpro.PhonebookEntry) error {
	var c check
	c.word("entry.uri", e.URI, maxURI)
	c.text("entry.name", e.Name, maxLabel)
	c.group(e.Group)
	return c.err
}

// phonebook runs f, which changes the phonebook, while its account, which v sees,
// stays. Nodes hear of it if rules of the account may name its groups.
func (s phonebook) phonebook(ctx context.Context, act string, v ngnpro.Viewer, id ngnpro.SipID, f func(t *tx, id ngnpro.SipID) error) (ns Notices, err error) {
	err = s.write(ctx, act, func(t *tx) error {
		x, err := t.subscriber(v, foldID(id), true)
		if err != nil {
			return err
		}
		if err := f(t, x.id); err != nil || x.profile.accept() == nil {
			ns = nil
			return err
		}
		ns, err = t.bump(change{x.id, account})
		return err
	})
	return ns, err
}

// members are the URIs in those groups of a phonebook that accept rules name.
func (t *tx) members(id ngnpro.SipID, a *subscriber.Accept) (map[string][]string, error) {
	named := make(map[string]bool)
	for _, r := range a.Persistent {
		for _, g := range r.Groups {
			named[g] = true
		}
	}
	if a.Temporary != nil {
		for _, g := range a.Temporary.Groups {
			named[g] = true
		}
	}
	out, n := make(map[string][]string), 0
	const q = "SELECT uri, grp FROM sip_phonebook WHERE username = ? AND domain = ? AND grp <> '' ORDER BY grp, uri"
	err := t.rows(q, []any{id.Username, id.Domain}, func(r *sql.Rows) error {
		var uri, group string
		err := r.Scan(&uri, &group)
		if named[group] && n < maxMembers {
			out[group] = append(out[group], uri)
			n++
		}
		return err
	})
	return out, err
}

// maxMembers bounds what a node is sent of one phonebook.
const maxMembers = 1000

// Add adds an entry.
func (s phonebook) Add(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, e *ngnpro.PhonebookEntry) (Notices, error) {
	if err := checkEntry(e); err != nil {
		return nil, err
	}
	return s.phonebook(ctx, "add phonebook entry", v, id, func(t *tx, id ngnpro.SipID) error {
		const q = "INSERT INTO sip_phonebook (username, domain, uri, name, grp) VALUES (?, ?, ?, ?, ?)"
		_, err := t.exec(q, id.Username, id.Domain, e.URI, e.Name, e.Group)
		if duplicate(err) {
			return ngnpro.ErrEntryExists
		}
		return err
	})
}

// Update changes name and group of an entry.
func (s phonebook) Update(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, e *ngnpro.PhonebookEntry) (Notices, error) {
	if err := checkEntry(e); err != nil {
		return nil, err
	}
	return s.phonebook(ctx, "update phonebook entry", v, id, func(t *tx, id ngnpro.SipID) error {
		const is = "SELECT 1 FROM sip_phonebook WHERE username = ? AND domain = ? AND uri = ?"
		var one int
		found, err := t.row(is, []any{id.Username, id.Domain, e.URI}, []any{&one})
		if err != nil {
			return err
		}
		if !found {
			return ngnpro.ErrEntryNotFound
		}
		const q = "UPDATE sip_phonebook SET name = ?, grp = ? WHERE username = ? AND domain = ? AND uri = ?"
		_, err = t.exec(q, e.Name, e.Group, id.Username, id.Domain, e.URI)
		return err
	})
}

// Delete deletes an entry.
func (s phonebook) Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, uri string) (Notices, error) {
	return s.phonebook(ctx, "delete phonebook entry", v, id, func(t *tx, id ngnpro.SipID) error {
		n, err := t.affects("DELETE FROM sip_phonebook WHERE username = ? AND domain = ? AND uri = ?", id.Username, id.Domain, uri)
		if err == nil && n == 0 {
			return ngnpro.ErrEntryNotFound
		}
		return err
	})
}

// Find lists entries by their URI.
func (s phonebook) Find(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, match *ngnpro.PhonebookEntry, r *ngnpro.Range) (es []ngnpro.PhonebookEntry, err error) {
	id = foldID(id)
	var l list
	l.and("username = ?", id.Username)
	l.and("domain = ?", id.Domain)
	if match != nil {
		l.like("uri", "match.uri", match.URI)
		l.like("name", "match.name", match.Name)
		l.like("grp", "match.group", match.Group)
	}
	l.sort(nil, nil, "uri")
	l.part(r)
	err = s.snapshot(ctx, "get phonebook", func(t *tx) error {
		es = nil
		if _, err := t.subscriber(v, id, false); err != nil {
			return err
		}
		_, err := t.find(&l, "uri, name, grp", "sip_phonebook", func(r *sql.Rows) error {
			var e ngnpro.PhonebookEntry
			err := r.Scan(&e.URI, &e.Name, &e.Group)
			es = append(es, e)
			return err
		})
		return err
	})
	return es, err
}
