package store

import (
	"fmt"

	"thor/provisioning/ngnpro"
)

// An accountRow is a row of sip_accounts_meta with its profile.
type accountRow struct {
	row              int64
	id               ngnpro.SipID
	first, last      *string
	email            *string
	party            party
	owner            *int
	created, changed string
	document         []byte // of profile
	profile          *profile
}

var accountTable = newTable("sip_accounts_meta", " JOIN sip_accounts_data ON account_id = sip_accounts_meta.id",
	func(a *accountRow) party { return a.party },
	func(a *accountRow) []field {
		return []field{
			{"sip_accounts_meta.id", &a.row, assigned},
			{"username", &a.id.Username, key},
			{"domain", &a.id.Domain, key},
			{"first_name", &a.first, kept},
			{"last_name", &a.last, kept},
			{"email", &a.email, kept},
			{"customer_id", &a.party.customer, fixed},
			{"reseller_id", &a.party.reseller, fixed},
			{"owner_id", &a.owner, kept},
			{"create_date", &a.created, created},
			{"change_date", &a.changed, changed},
			{"profile", &a.document, assigned},
		}
	})

// parse reads the profile out of its document.
func (s *accountRow) parse() (err error) {
	if s.profile, err = parseProfile(s.document); err != nil {
		err = fmt.Errorf("%w: %s", err, s.id.Key())
	}
	return err
}

// subscriber reads an account that v sees. Locked, it stays as it is until the
// transaction ends, although other programs write its profile too: OpenXCAP locks the
// same row of sip_accounts_meta. The error errProfile comes with the account, which
// has no profile then.
func (t *tx) subscriber(v ngnpro.Viewer, id ngnpro.SipID, l lock) (*accountRow, error) {
	a, err := accountTable.get(t, v, l, ngnpro.ErrAccountNotFound.With("there is no SIP account %s", id.Key()), id.Username, id.Domain)
	if err != nil {
		return nil, err
	}
	return a, a.parse()
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
	return accountTable.update(t, a)
}

// insert writes a new account, whose key is claimed.
func (t *tx) insert(a *accountRow) error {
	var err error
	if a.row, err = accountTable.insert(t, a); err != nil {
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
	a, err := t.subscriber(v, id, forUpdate)
	if err != nil {
		return nil, err
	}
	was := *a.profile
	if err := f(a); err != nil {
		return nil, err
	}
	if err := t.as(v).changesProfile(&was, a.profile); err != nil {
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
func (t *tx) aliases(id ngnpro.SipID, l lock) (ids []ngnpro.SipID, err error) {
	const rest = " WHERE target_username = ? AND target_domain = ? ORDER BY username, domain"
	err = aliasTable.each(t, rest+string(l), []any{id.Username, id.Domain}, func(a *ngnpro.SipAlias) { ids = append(ids, a.ID) })
	return ids, err
}

// remove deletes an account that is locked, with all that belongs to it.
func (t *tx) remove(a *accountRow) (Notices, error) {
	aliases, err := t.aliases(a.id, forUpdate)
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
