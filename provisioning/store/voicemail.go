package store

import (
	"context"
	"strconv"

	"thor/provisioning/ngnpro"
)

// mailboxes are mailboxes of subscribers.
type mailboxes struct{ *backend }

// maxAnnouncement is the size of an announcement in bytes.
const maxAnnouncement = 4 << 20

func checkVoicemail(a *ngnpro.VoicemailAccount) error {
	var c check
	c.opt("name", a.Name, maxLabel)
	c.opt("email", a.Email, maxURI)
	c.opt("info", a.Info, maxInfo)
	if p := or(a.Password, ""); p != "" {
		c.digits("password", p, maxName)
	}
	return c.err
}

// mailbox reads the mailbox of an account that v sees. The account is locked.
func (t *tx) mailbox(v ngnpro.Viewer, id ngnpro.SipID, locked bool) (*ngnpro.VoicemailAccount, error) {
	x, err := t.subscriber(v, id, locked)
	if err != nil && !ngnpro.ErrAccountNotFound.Is(err) {
		return nil, err
	}
	if err != nil {
		return nil, ngnpro.ErrVoicemailNotFound.With("there is no voicemail account of %s", id.Key())
	}
	a := &ngnpro.VoicemailAccount{
		SipID: x.id, Name: new(string), Password: new(string), Email: new(string), Info: new(string), Options: &ngnpro.VoicemailOptions{},
	}
	var n int
	const q = "SELECT mailbox, name, password, email, info, delete_sent FROM voicemail_accounts WHERE username = ? AND domain = ?"
	found, err := t.row(q, []any{x.id.Username, x.id.Domain}, []any{&n, a.Name, a.Password, a.Email, a.Info, &a.Options.Delete})
	if err == nil && !found {
		err = ngnpro.ErrVoicemailNotFound.With("there is no voicemail account of %s", id.Key())
	}
	a.Mailbox = strconv.Itoa(n)
	return a, err
}

// Add gives an account a mailbox.
func (s mailboxes) Add(ctx context.Context, v ngnpro.Viewer, a *ngnpro.VoicemailAccount) (ns Notices, err error) {
	if err := checkVoicemail(a); err != nil {
		return nil, err
	}
	err = s.write(ctx, "add voicemail account", func(t *tx) error {
		x, err := t.subscriber(v, foldID(a.SipID), true)
		if err != nil {
			return err
		}
		const q = "INSERT INTO voicemail_accounts (username, domain, name, password, email, info, delete_sent, change_date)" +
			" VALUES (?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP())"
		if _, err := t.exec(q, x.id.Username, x.id.Domain, or(a.Name, ""), or(a.Password, ""), or(a.Email, ""), or(a.Info, ""),
			or(a.Options, ngnpro.VoicemailOptions{}).Delete); err != nil {
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

// Update changes what is given. An empty password keeps the old one.
func (s mailboxes) Update(ctx context.Context, v ngnpro.Viewer, a *ngnpro.VoicemailAccount) (ns Notices, err error) {
	if err := checkVoicemail(a); err != nil {
		return nil, err
	}
	err = s.write(ctx, "update voicemail account", func(t *tx) error {
		x, err := t.mailbox(v, foldID(a.SipID), true)
		if err != nil {
			return err
		}
		set(x.Name, a.Name)
		if or(a.Password, "") != "" {
			set(x.Password, a.Password)
		}
		set(x.Email, a.Email)
		set(x.Info, a.Info)
		set(x.Options, a.Options)
		const q = "UPDATE voicemail_accounts SET name = ?, password = ?, email = ?, info = ?, delete_sent = ?, change_date = UTC_TIMESTAMP()" +
			" WHERE username = ? AND domain = ?"
		if _, err := t.exec(q, *x.Name, *x.Password, *x.Email, *x.Info, x.Options.Delete, x.SipID.Username, x.SipID.Domain); err != nil {
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
		x, err := t.mailbox(v, foldID(id), true)
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
		a, err = t.mailbox(v, foldID(id), false)
		return err
	})
	return a, err
}

// SetAnnouncement sets what callers hear; empty is none.
func (s mailboxes) SetAnnouncement(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, message []byte) error {
	if len(message) > maxAnnouncement {
		return ngnpro.ErrInvalid.With("message is larger than %d bytes", maxAnnouncement)
	}
	return s.write(ctx, "set announcement", func(t *tx) error {
		x, err := t.mailbox(v, foldID(id), true)
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
