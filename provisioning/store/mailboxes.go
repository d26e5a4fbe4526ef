package store

import (
	"context"

	"thor/provisioning/ngnpro"
)

// mailboxes are mailboxes of subscribers.
type mailboxes struct{ *backend }

// A mailbox is a row of voicemail_accounts.
type mailbox struct {
	ngnpro.VoicemailAccount
	erase *bool // messages, once they were sent
}

var mailboxTable = newTable("voicemail_accounts", "", nil, func(m *mailbox) []field {
	return []field{
		{"mailbox", &m.Mailbox, assigned},
		{"username", &m.SipID.Username, key},
		{"domain", &m.SipID.Domain, key},
		{"name", &m.Name, kept},
		{"password", &m.Password, kept},
		{"email", &m.Email, kept},
		{"info", &m.Info, kept},
		{"delete_sent", &m.erase, kept},
		{"change_date", new(string), changed},
	}
})

func mailboxRow(a *ngnpro.VoicemailAccount) *mailbox {
	m := &mailbox{VoicemailAccount: *a}
	if a.Options != nil {
		m.erase = &a.Options.Delete
	}
	return m
}

// mailbox reads the mailbox of an account that v sees, locked if the account is.
func (t *tx) mailbox(v ngnpro.Viewer, id ngnpro.SipID, l lock) (*mailbox, error) {
	missing := ngnpro.ErrVoicemailNotFound.With("there is no voicemail account of %s", id.Key())
	x, err := t.subscriber(v, id, l)
	if ngnpro.ErrAccountNotFound.Is(err) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	m, err := mailboxTable.one(t, mailboxTable.byKey, x.id.Username, x.id.Domain)
	if err == nil && m == nil {
		err = missing
	}
	return m, err
}

// Add gives an account a mailbox.
func (s mailboxes) Add(ctx context.Context, v ngnpro.Viewer, a *ngnpro.VoicemailAccount) (ns Notices, err error) {
	err = s.write(ctx, "add voicemail account", func(t *tx) error {
		x, err := t.subscriber(v, a.SipID, forUpdate)
		if err != nil {
			return err
		}
		if _, err := mailboxTable.insert(t, mailboxRow(a)); err != nil {
			if duplicate(err) {
				return ngnpro.ErrVoicemailExists
			}
			return err
		}
		ns, err = t.bump(change{x.id, account})
		return err
	})
	return ns, err
}

// Update changes what is given.
func (s mailboxes) Update(ctx context.Context, v ngnpro.Viewer, a *ngnpro.VoicemailAccount) (ns Notices, err error) {
	err = s.write(ctx, "update voicemail account", func(t *tx) error {
		x, err := t.mailbox(v, a.SipID, forUpdate)
		if err != nil {
			return err
		}
		mailboxTable.merge(x, mailboxRow(a))
		if err := mailboxTable.update(t, x); err != nil {
			return err
		}
		ns, err = t.bump(change{x.SipID, account})
		return err
	})
	return ns, err
}

// Delete deletes the mailbox of an account, with its announcement.
func (s mailboxes) Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (ns Notices, err error) {
	err = s.write(ctx, "delete voicemail account", func(t *tx) error {
		x, err := t.mailbox(v, id, forUpdate)
		if err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM voicemail_accounts WHERE username = ? AND domain = ?", x.SipID.Username, x.SipID.Domain); err != nil {
			return err
		}
		ns, err = t.bump(change{x.SipID, account})
		return err
	})
	return ns, err
}

// Get is the mailbox of an account.
func (s mailboxes) Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (a *ngnpro.VoicemailAccount, err error) {
	err = s.snapshot(ctx, "get voicemail account", func(t *tx) error {
		m, err := t.mailbox(v, id, unlocked)
		if err == nil {
			a = &m.VoicemailAccount
			a.Options = &ngnpro.VoicemailOptions{Delete: *m.erase}
		}
		return err
	})
	return a, err
}

// SetAnnouncement sets what callers hear; empty is none.
func (s mailboxes) SetAnnouncement(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, message []byte) error {
	return s.write(ctx, "set announcement", func(t *tx) error {
		x, err := t.mailbox(v, id, forUpdate)
		if err != nil {
			return err
		}
		if len(message) == 0 {
			_, err = t.exec("DELETE FROM voicemail_announcements WHERE mailbox = ?", x.Mailbox)
			return err
		}
		_, err = t.exec("REPLACE INTO voicemail_announcements (mailbox, message) VALUES (?, ?)", x.Mailbox, message)
		return err
	})
}
