package store_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"thor/provisioning/ngnpro"
)

func (w *world) domainKind() kind[ngnpro.SipDomain] {
	return kind[ngnpro.SipDomain]{
		"domain",
		func(r *random) *ngnpro.SipDomain {
			return &ngnpro.SipDomain{Domain: fmt.Sprintf("n%d.%s", r.n, r.host()), Customer: new(0), Reseller: new(r.IntN(2) * w.someone)}
		},
		(*ngnpro.SipDomain).Clean,
		func(d *ngnpro.SipDomain) error { return w.Domains.Add(w.ctx, admin, d) },
		func(d *ngnpro.SipDomain) error { return only(w.Domains.Update(w.ctx, admin, d)) },
		func(d *ngnpro.SipDomain) (*ngnpro.SipDomain, error) {
			var q ngnpro.SipDomainQuery
			q.Filter.Domain = strings.ReplaceAll(d.Domain, "_", `\_`)
			return found(w.Domains.Find(w.ctx, admin, &q))
		},
	}
}

func (w *world) accountKind() kind[ngnpro.SipAccount] {
	return kind[ngnpro.SipAccount]{
		"account",
		func(r *random) *ngnpro.SipAccount {
			a := &ngnpro.SipAccount{ID: ngnpro.SipID{Username: r.user(), Domain: "D.example"}, Groups: new(r.words(func() string { return r.one("free-pstn", "a", "b ", r.text(anyText)) }))}
			a.Timeout = new(1 + r.IntN(901))
			a.Password = new(r.one("secret", r.text(anyText), strings.Repeat("A1", 16)+":"+strings.Repeat("b2", 16)))
			if r.IntN(2) == 0 {
				acl := []ngnpro.ACLEntry{{IP: r.address(), Mask: r.IntN(34), Tag: new(r.text(anyText))}, {IP: r.address()}}
				a.ACL = &acl
			}
			return a
		},
		(*ngnpro.SipAccount).CleanNew,
		func(a *ngnpro.SipAccount) error { _, _, err := w.Accounts.Add(w.ctx, admin, a); return err },
		func(a *ngnpro.SipAccount) error { return only(w.Accounts.Update(w.ctx, admin, a)) },
		func(a *ngnpro.SipAccount) (*ngnpro.SipAccount, error) { return w.Accounts.Get(w.ctx, admin, a.ID) },
	}
}

func (w *world) aliasKind() kind[ngnpro.SipAlias] {
	return kind[ngnpro.SipAlias]{
		"alias",
		func(r *random) *ngnpro.SipAlias {
			return &ngnpro.SipAlias{ID: ngnpro.SipID{Username: "al" + r.user(), Domain: "d.Example"}, Target: ngnpro.SipID{Username: r.one("Target1", "target2", "target3"), Domain: "d.example"}}
		},
		(*ngnpro.SipAlias).Clean,
		func(a *ngnpro.SipAlias) error { return only(w.Aliases.Add(w.ctx, admin, a)) },
		func(a *ngnpro.SipAlias) error { return only(w.Aliases.Update(w.ctx, admin, a)) },
		func(a *ngnpro.SipAlias) (*ngnpro.SipAlias, error) { return w.Aliases.Get(w.ctx, admin, a.ID) },
	}
}

func (w *world) peerKind() kind[ngnpro.TrustedPeer] {
	return kind[ngnpro.TrustedPeer]{
		"trusted peer",
		func(r *random) *ngnpro.TrustedPeer {
			return &ngnpro.TrustedPeer{IP: r.address() + r.one("", "", "/32", "/24", "/112", "/128", "/96"), Customer: new(0), Reseller: new(r.IntN(2) * w.someone)}
		},
		(*ngnpro.TrustedPeer).Clean,
		func(p *ngnpro.TrustedPeer) error { return w.Peers.Add(w.ctx, admin, p) },
		func(p *ngnpro.TrustedPeer) error { return w.Peers.Update(w.ctx, admin, p) },
		func(p *ngnpro.TrustedPeer) (*ngnpro.TrustedPeer, error) {
			var q ngnpro.TrustedPeerQuery
			q.Filter.IP = p.IP
			return found(w.Peers.Find(w.ctx, admin, &q))
		},
	}
}

func (w *world) mailboxKind() kind[ngnpro.VoicemailAccount] {
	return kind[ngnpro.VoicemailAccount]{
		"mailbox",
		func(r *random) *ngnpro.VoicemailAccount {
			return &ngnpro.VoicemailAccount{SipID: ngnpro.SipID{Username: "target1", Domain: "d.example"}, Password: new(r.one("", r.text(figures), r.text(figures), "pin")), Options: new(ngnpro.VoicemailOptions)}
		},
		(*ngnpro.VoicemailAccount).Clean,
		func(a *ngnpro.VoicemailAccount) error {
			if err := only(w.Mailboxes.Delete(w.ctx, admin, a.SipID)); err != nil && !errors.Is(err, ngnpro.ErrVoicemailNotFound) {
				return err
			}
			return only(w.Mailboxes.Add(w.ctx, admin, a))
		},
		func(a *ngnpro.VoicemailAccount) error { return only(w.Mailboxes.Update(w.ctx, admin, a)) },
		func(a *ngnpro.VoicemailAccount) (*ngnpro.VoicemailAccount, error) {
			return w.Mailboxes.Get(w.ctx, admin, a.SipID)
		},
	}
}

func (w *world) rangeKind() kind[ngnpro.EnumRange] {
	return kind[ngnpro.EnumRange]{
		"ENUM range",
		func(r *random) *ngnpro.EnumRange {
			return &ngnpro.EnumRange{
				ID:          ngnpro.EnumRangeID{Prefix: r.one("", "+") + "88" + strconv.Itoa(r.n) + r.one("", strings.Repeat("0", r.IntN(30))), TLD: r.one("", "E164.arpa", r.host())},
				Nameservers: new(r.words(r.host)), Customer: new(0), Reseller: new(r.IntN(2) * w.someone), MinDigits: new(r.IntN(20)),
			}
		},
		(*ngnpro.EnumRange).CleanNew,
		func(x *ngnpro.EnumRange) error { return w.Ranges.Add(w.ctx, admin, x) },
		func(x *ngnpro.EnumRange) error { return w.Ranges.Update(w.ctx, admin, x) },
		func(x *ngnpro.EnumRange) (*ngnpro.EnumRange, error) {
			var q ngnpro.EnumRangeQuery
			q.Filter.Prefix, q.Filter.TLD = x.ID.Prefix, strings.ReplaceAll(x.ID.TLD, "_", `\_`)
			return found(w.Ranges.Find(w.ctx, admin, &q))
		},
	}
}

func (w *world) numberKind() kind[ngnpro.EnumNumber] {
	return kind[ngnpro.EnumNumber]{
		"ENUM number",
		func(r *random) *ngnpro.EnumNumber {
			return &ngnpro.EnumNumber{ID: ngnpro.EnumID{Number: r.one("", "+", " ") + "31" + strconv.Itoa(r.n) + r.one("", strings.Repeat("0", r.IntN(30))), TLD: r.one("", "E164.arpa")}}
		},
		func(x *ngnpro.EnumNumber) error {
			for i := range or(x.Mappings) {
				if x.ChangeDate == "" { // it is new
					(*x.Mappings)[i].ID = nil
				}
			}
			return x.Clean()
		},
		func(x *ngnpro.EnumNumber) error { return w.Numbers.Add(w.ctx, admin, x) },
		func(x *ngnpro.EnumNumber) error { return w.Numbers.Update(w.ctx, admin, x) },
		func(x *ngnpro.EnumNumber) (*ngnpro.EnumNumber, error) { return w.Numbers.Get(w.ctx, admin, x.ID) },
	}
}

func (w *world) customerKind() kind[ngnpro.CustomerAccount] {
	return kind[ngnpro.CustomerAccount]{
		"customer",
		func(r *random) *ngnpro.CustomerAccount { // without a password: its hash would take most of the time
			c := &ngnpro.CustomerAccount{Username: new(r.one("C", "c@x", "c_") + strconv.Itoa(r.n)), Password: new(" "), Reseller: new(w.someone), Impersonate: new(r.IntN(2) * w.someone)}
			ps := []ngnpro.CustomerProperty{{Name: r.one("sip_credit", "email_credit"), Value: r.one("", "7", "-1", "x")}, {Name: r.text(anyText)}, {Name: "b "}}
			c.Properties = &ps
			return c
		},
		func(c *ngnpro.CustomerAccount) error {
			if c.Password != nil { // it is new
				c.Password, c.ID = nil, nil
			}
			return c.Clean()
		},
		func(c *ngnpro.CustomerAccount) error {
			n, err := w.Customers.Add(w.ctx, admin, c)
			if err == nil {
				c.ID = n.ID
			}
			return err
		},
		func(c *ngnpro.CustomerAccount) error { return w.Customers.Update(w.ctx, admin, c) },
		func(c *ngnpro.CustomerAccount) (*ngnpro.CustomerAccount, error) {
			return w.Customers.Get(w.ctx, admin, *c.ID)
		},
	}
}

func (w *world) entryKind() kind[ngnpro.PhonebookEntry] {
	of := id("target1@d.example")
	return kind[ngnpro.PhonebookEntry]{
		"phonebook entry",
		func(r *random) *ngnpro.PhonebookEntry {
			return &ngnpro.PhonebookEntry{URI: r.one(r.uri(), "+31"+strconv.Itoa(r.n), " tel:"+strconv.Itoa(r.n))}
		},
		(*ngnpro.PhonebookEntry).Clean,
		func(e *ngnpro.PhonebookEntry) error { return only(w.Phonebook.Add(w.ctx, admin, of, e)) },
		func(e *ngnpro.PhonebookEntry) error { return only(w.Phonebook.Update(w.ctx, admin, of, e)) },
		func(e *ngnpro.PhonebookEntry) (*ngnpro.PhonebookEntry, error) {
			es, err := w.Phonebook.Find(w.ctx, admin, of, &ngnpro.PhonebookEntry{URI: strings.NewReplacer("_", `\_`, "%", `\%`).Replace(e.URI)}, nil)
			return found(len(es), es, err)
		},
	}
}

func (w *world) diversionsKind() kind[ngnpro.CallDiversions] {
	of := id("target2@d.example")
	set := func(d *ngnpro.CallDiversions) error { return only(w.Screening.SetCallDiversions(w.ctx, admin, of, d)) }
	return kind[ngnpro.CallDiversions]{
		"diversions",
		func(r *random) *ngnpro.CallDiversions {
			return &ngnpro.CallDiversions{
				All: new(r.one("", r.uri())), NotOnline: new(r.one("voice-mailbox", "<Voice-Mailbox>")), Busy: new(r.uri()), NoAnswer: new("<" + r.uri() + ">"), Unavailable: new(r.uri()),
			}
		},
		(*ngnpro.CallDiversions).Clean, set, set,
		func(*ngnpro.CallDiversions) (*ngnpro.CallDiversions, error) {
			return w.Screening.CallDiversions(w.ctx, admin, of)
		},
	}
}

func (w *world) barringKind() kind[list] {
	of := id("target2@d.example")
	set := func(l *list) error { return only(w.Screening.SetBarringPrefixes(w.ctx, admin, of, l.Items)) }
	return kind[list]{
		"barring prefixes",
		func(r *random) *list {
			return &list{r.words(func() string { return r.one("00", "0900 ", "+", r.text(figures)) })}
		},
		func(l *list) (err error) { l.Items, err = ngnpro.BarringPrefixes(l.Items); return err },
		set, set,
		func(*list) (*list, error) {
			ps, err := w.Screening.BarringPrefixes(w.ctx, admin, of)
			return &list{ps}, err
		},
	}
}

func (w *world) rejectKind() kind[list] {
	of := id("target3@d.example")
	set := func(l *list) error { return only(w.Screening.SetRejectMembers(w.ctx, admin, of, l.Items)) }
	return kind[list]{
		"reject members",
		func(r *random) *list {
			return &list{r.words(func() string { return r.one(r.uri(), r.user()+"@"+r.host()) })}
		},
		func(l *list) (err error) { l.Items, err = ngnpro.RejectMembers(l.Items); return err },
		set, set,
		func(*list) (*list, error) {
			ms, err := w.Screening.RejectMembers(w.ctx, admin, of)
			return &list{ms}, err
		},
	}
}

func (w *world) rulesKind() kind[ngnpro.AcceptRules] {
	of := id("target3@d.example")
	set := func(x *ngnpro.AcceptRules) error { return only(w.Screening.SetAcceptRules(w.ctx, admin, of, x)) }
	return kind[ngnpro.AcceptRules]{
		"accept rules",
		func(r *random) *ngnpro.AcceptRules {
			x := &ngnpro.AcceptRules{Temporary: &ngnpro.TemporaryAccept{Groups: r.words(func() string { return r.text(anyText) }), Duration: r.IntN(3) * (1 + r.IntN(366*24*30))}}
			for range r.IntN(4) {
				x.Persistent = append(x.Persistent, ngnpro.AcceptRule{
					Start: fmt.Sprintf("%d:%02d", r.IntN(25), r.IntN(60)), Stop: r.one("24:00", "09:30:00", "0:00"),
					Groups: r.words(func() string { return r.one("everybody", r.text(anyText)) }), Days: r.IntN(128),
				})
			}
			return x
		},
		(*ngnpro.AcceptRules).Clean, set, set,
		func(*ngnpro.AcceptRules) (*ngnpro.AcceptRules, error) {
			x, _, err := w.Screening.AcceptRules(w.ctx, admin, of)
			return x, err
		},
	}
}
