package store

import (
	"context"
	"database/sql"

	"thor/overlay/subscriber"
	"thor/provisioning/ngnpro"
)

// phonebook is contacts of subscribers.
type phonebook struct{ *backend }

// An entry is a row of sip_phonebook.
type entry struct {
	of ngnpro.SipID
	ngnpro.PhonebookEntry
}

var entryTable = newTable("sip_phonebook", "", nil, func(e *entry) []field {
	return []field{
		{"username", &e.of.Username, key},
		{"domain", &e.of.Domain, key},
		{"uri", &e.URI, key},
		{"name", &e.Name, kept},
		{"grp", &e.Group, kept},
	}
})

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

// phonebook runs f, which changes the phonebook, while its account, which v sees,
// stays. Nodes hear of it if rules of the account may name its groups.
func (s phonebook) phonebook(ctx context.Context, act string, v ngnpro.Viewer, id ngnpro.SipID, f func(t *tx, id ngnpro.SipID) error) (ns Notices, err error) {
	err = s.write(ctx, act, func(t *tx) error {
		x, err := t.subscriber(v, id, forUpdate)
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
	const rest = " WHERE username = ? AND domain = ? AND grp <> '' ORDER BY grp, uri"
	err := entryTable.each(t, rest, []any{id.Username, id.Domain}, func(e *entry) {
		if named[e.Group] && n < maxMembers {
			out[e.Group] = append(out[e.Group], e.URI)
			n++
		}
	})
	return out, err
}

// maxMembers bounds what a node is sent of one phonebook.
const maxMembers = 1000

// Add adds an entry.
func (s phonebook) Add(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, e *ngnpro.PhonebookEntry) (Notices, error) {
	return s.phonebook(ctx, "add phonebook entry", v, id, func(t *tx, id ngnpro.SipID) error {
		_, err := entryTable.insert(t, &entry{id, *e})
		if duplicate(err) {
			return ngnpro.ErrEntryExists
		}
		return err
	})
}

// Update changes name and group of an entry.
func (s phonebook) Update(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, e *ngnpro.PhonebookEntry) (Notices, error) {
	return s.phonebook(ctx, "update phonebook entry", v, id, func(t *tx, id ngnpro.SipID) error {
		x, err := entryTable.one(t, entryTable.byKey, id.Username, id.Domain, e.URI)
		if err != nil {
			return err
		}
		if x == nil {
			return ngnpro.ErrEntryNotFound
		}
		return entryTable.update(t, &entry{id, *e})
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

// Get is one entry.
func (s phonebook) Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, uri string) (e *ngnpro.PhonebookEntry, err error) {
	err = s.snapshot(ctx, "get phonebook entry", func(t *tx) error {
		if _, err := t.subscriber(v, id, unlocked); err != nil {
			return err
		}
		x, err := entryTable.one(t, entryTable.byKey, id.Username, id.Domain, uri)
		switch {
		case err != nil:
			return err
		case x == nil:
			return ngnpro.ErrEntryNotFound
		}
		e = &x.PhonebookEntry
		return nil
	})
	return e, err
}

// Find lists entries by their URI.
func (s phonebook) Find(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, match *ngnpro.PhonebookEntry, r *ngnpro.Range) (es []ngnpro.PhonebookEntry, err error) {
	var l search
	l.and("username = ?", id.Username)
	l.and("domain = ?", id.Domain)
	if match != nil {
		l.like("uri", match.URI)
		l.like("name", match.Name)
		l.like("grp", match.Group)
	}
	l.sort(nil, nil, "uri")
	l.part(r)
	err = s.snapshot(ctx, "get phonebook", func(t *tx) error {
		es = nil
		if _, err := t.subscriber(v, id, unlocked); err != nil {
			return err
		}
		_, rows, err := entryTable.find(t, &l)
		for _, e := range rows {
			es = append(es, e.PhonebookEntry)
		}
		return err
	})
	return es, err
}
