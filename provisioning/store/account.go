package store

import (
	"database/sql"
	"errors"
	"fmt"

	"thor/provisioning/ngnpro"
)

// An accountRow is a row of sip_accounts_meta with its profile.
type accountRow struct {
	row              int64
	id               ngnpro.SipID
	first, last      string
	email            string
	party            party
	owner            int
	created, changed string
	profile          *profile
}

const (
	subscriberColumns = "m.id, m.username, m.domain, m.first_name, m.last_name, m.email, m.customer_id, m.reseller_id, m.owner_id, m.create_date, m.change_date, d.profile"
	subscriberTables  = "sip_accounts_meta m JOIN sip_accounts_data d ON d.account_id = m.id"
)

func scanSubscriber(scan func(...any) error) (*accountRow, error) {
	var a accountRow
	var p []byte
	err := scan(&a.row, &a.id.Username, &a.id.Domain, &a.first, &a.last, &a.email, &a.party.customer, &a.party.reseller, &a.owner,
		&a.created, &a.changed, &p)
	if err != nil {
		return nil, err
	}
	if a.profile, err = parseProfile(p); err != nil {
		err = fmt.Errorf("%w: %s", err, a.id.Key())
	}
	return &a, err
}

// subscriber reads an account that v sees. Locked, nobody else changes it before
// the transaction ends, other writers of its profile included: OpenXCAP too locks
// its row of sip_accounts_meta. With errProfile it is there, without a profile.
func (t *tx) subscriber(v ngnpro.Viewer, id ngnpro.SipID, locked bool) (*accountRow, error) {
	const q = "SELECT " + subscriberColumns + " FROM " + subscriberTables + " WHERE m.username = ? AND m.domain = ?"
	query := q
	if locked {
		query = q + " FOR UPDATE"
	}
	a, err := scanSubscriber(t.q.QueryRowContext(t.ctx, query, id.Username, id.Domain).Scan)
	if errors.Is(err, sql.ErrNoRows) || (err == nil || errors.Is(err, errProfile)) && !a.party.seen(v) {
		return nil, ngnpro.ErrAccountNotFound.With("there is no SIP account %s", id.Key())
	}
	return a, err
}

// save writes the profile of an account that is locked.
func (t *tx) save(a *accountRow) error {
	p, err := a.profile.encode()
	if err != nil {
		return err
	}
	if _, err := t.exec("UPDATE sip_accounts_data SET profile = ? WHERE account_id = ?", p, a.row); err != nil {
		return err
	}
	const meta = "UPDATE sip_accounts_meta SET first_name = ?, last_name = ?, email = ?, owner_id = ?, change_date = UTC_TIMESTAMP() WHERE id = ?"
	_, err = t.exec(meta, a.first, a.last, a.email, a.owner, a.row)
	return err
}

// insert writes a new account, whose key is claimed.
func (t *tx) insert(a *accountRow) error {
	const meta = "INSERT INTO sip_accounts_meta (username, domain, first_name, last_name, email, customer_id, reseller_id, owner_id, create_date, change_date)" +
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(), UTC_TIMESTAMP())"
	r, err := t.exec(meta, a.id.Username, a.id.Domain, a.first, a.last, a.email, a.party.customer, a.party.reseller, a.owner)
	if err != nil {
		return err
	}
	if a.row, err = r.LastInsertId(); err != nil {
		return err
	}
	p, err := a.profile.encode()
	if err != nil {
		return err
	}
	if _, err := t.exec("INSERT INTO sip_accounts_data (account_id, profile) VALUES (?, ?)", a.row, p); err != nil {
		return err
	}
	if err := t.projectAccount(a.id, a.profile); err != nil {
		return err
	}
	return t.projectGroups(a.id, nil, a.profile.Groups)
}

// modify changes an account: f gets it locked and says what is new.
func (t *tx) modify(v ngnpro.Viewer, id ngnpro.SipID, f func(*accountRow) error) (Notices, error) {
	a, err := t.subscriber(v, id, true)
	if err != nil {
		return nil, err
	}
	was := *a.profile
	if err := f(a); err != nil {
		return nil, err
	}
	if err := t.mayProfile(v, &was, a.profile); err != nil {
		return nil, err
	}
	if err := t.save(a); err != nil {
		return nil, err
	}
	is := a.profile
	if was.HA1 != is.HA1 || was.HA1B != is.HA1B || was.Password != is.Password || was.SHA256 != is.SHA256 {
		if err := t.projectAccount(a.id, is); err != nil {
			return nil, err
		}
	}
	if err := t.projectGroups(a.id, was.Groups, is.Groups); err != nil {
		return nil, err
	}
	return t.bump(change{a.id, account})
}

// aliases are the keys that lead to an account, locked if the account is.
func (t *tx) aliases(id ngnpro.SipID, locked bool) (ids []ngnpro.SipID, err error) {
	const q = "SELECT username, domain FROM sip_aliases WHERE target_username = ? AND target_domain = ? ORDER BY username, domain"
	query := q
	if locked {
		query = q + " FOR UPDATE"
	}
	err = t.rows(query, []any{id.Username, id.Domain}, func(r *sql.Rows) error {
		var x ngnpro.SipID
		err := r.Scan(&x.Username, &x.Domain)
		ids = append(ids, x)
		return err
	})
	return ids, err
}

// remove deletes an account that is locked, with all that belongs to it.
func (t *tx) remove(a *accountRow) (Notices, error) {
	aliases, err := t.aliases(a.id, true)
	if err != nil {
		return nil, err
	}
	if err := t.each([]any{a.id.Username, a.id.Domain},
		"DELETE FROM sip_aliases WHERE target_username = ? AND target_domain = ?",
		"DELETE FROM dbaliases WHERE username = ? AND domain = ?",
		"DELETE FROM grp WHERE username = ? AND domain = ?",
		"DELETE FROM subscriber WHERE username = ? AND domain = ?",
		"DELETE FROM sip_phonebook WHERE username = ? AND domain = ?",
		"DELETE FROM voicemail_accounts WHERE username = ? AND domain = ?", // and the announcement, by its foreign key
		"DELETE FROM sip_accounts_meta WHERE username = ? AND domain = ?",  // and sip_accounts_data
	); err != nil {
		return nil, err
	}
	cs := []change{{a.id, deleted}}
	for _, id := range aliases {
		cs = append(cs, change{id, deleted})
	}
	return t.bump(cs...)
}
