package store_test

import (
	"fmt"
	"slices"
	"testing"

	"thor/provisioning/allowance"
	"thor/provisioning/ngnpro"
)

func TestScreening(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	a := id("A@D.example")
	_, err := w.Screening.SetCallDiversions(w.ctx, admin, a, &ngnpro.CallDiversions{All: new("sip:b@d.example"), Busy: new("<voice-mailbox>"), NoAnswer: new("<voice-mailbox>")})
	w.ok(err)
	d, err := w.Screening.CallDiversions(w.ctx, admin, a)
	w.ok(err)
	if *d.All != "sip:b@d.example" || *d.Busy != "<voice-mailbox>" || *d.NoAnswer != "<voice-mailbox>" || d.NotOnline != nil || d.Unavailable != nil {
		t.Errorf("diversions %+v", d)
	}
	_, err = w.Screening.SetCallDiversions(w.ctx, admin, a, &ngnpro.CallDiversions{Unavailable: new("sips:c@d.example")})
	w.ok(err)
	if d, err = w.Screening.CallDiversions(w.ctx, admin, a); err != nil || d.All != nil || *d.Unavailable != "sips:c@d.example" {
		t.Errorf("replaced: %+v, %v", d, err)
	}
	_, err = w.Screening.SetBarringPrefixes(w.ctx, admin, a, []string{"00", "0900"})
	w.ok(err)
	_, err = w.Screening.SetRejectMembers(w.ctx, admin, a, []string{"sip:z@d.example"})
	w.ok(err)
	barred, err := w.Screening.BarringPrefixes(w.ctx, admin, a)
	w.ok(err)
	rejected, err := w.Screening.RejectMembers(w.ctx, admin, a)
	w.ok(err)
	x, err := w.Pushes.Subscriber(w.ctx, "a@d.example")
	w.ok(err)
	if !slices.Equal(barred, []string{"00", "0900"}) || !slices.Equal(rejected, []string{"sip:z@d.example"}) ||
		!slices.Equal(x.Barring, barred) || !slices.Equal(x.Reject, rejected) || x.Diversions["FUNV"] != "sips:c@d.example" || len(x.Diversions) != 1 {
		t.Errorf("%q, %q, %+v", barred, rejected, x)
	}
	w.check()
}

func TestAcceptRules(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	a := id("a@d.example")
	w.ok(only(w.Phonebook.Add(w.ctx, admin, a, &ngnpro.PhonebookEntry{URI: "sip:m@d.example", Name: "Mum", Group: "family"})))
	rules := &ngnpro.AcceptRules{
		Persistent: []ngnpro.AcceptRule{{Start: "08:00", Stop: "24:00", Groups: []string{"family"}, Days: 31}},
		Temporary:  &ngnpro.TemporaryAccept{Groups: []string{"nobody"}, Duration: 90},
	}
	_, err := w.Screening.SetAcceptRules(w.ctx, admin, a, rules)
	w.ok(err)
	r, groups, err := w.Screening.AcceptRules(w.ctx, admin, a)
	w.ok(err)
	if len(r.Persistent) != 1 || r.Persistent[0].Days != 31 || r.Temporary == nil || r.Temporary.Duration < 89 || r.Temporary.Duration > 90 || !slices.Equal(groups, []string{"family"}) {
		t.Errorf("%+v, %q", r, groups)
	}
	if x, err := w.Pushes.Subscriber(w.ctx, "a@d.example"); err != nil || x.Accept == nil || x.Accept.Temporary.Until == 0 || x.Accept.Persistent[0].Stop != "24:00" {
		t.Errorf("%+v, %v", x, err)
	}
	// Its time is up.
	w.sql("UPDATE sip_accounts_data SET profile = JSON_SET(profile, '$.accept_temporary.until', 1000)")
	if r, _, err := w.Screening.AcceptRules(w.ctx, admin, a); err != nil || r.Temporary != nil || len(r.Persistent) != 1 {
		t.Errorf("after the end: %+v, %v", r, err)
	}
	if x, err := w.Pushes.Subscriber(w.ctx, "a@d.example"); err != nil || x.Accept.Temporary != nil {
		t.Errorf("after the end: %+v, %v", x.Accept, err)
	}
	_, err = w.Screening.SetAcceptRules(w.ctx, admin, a, &ngnpro.AcceptRules{})
	w.ok(err)
	if x, err := w.Pushes.Subscriber(w.ctx, "a@d.example"); err != nil || x.Accept != nil {
		t.Errorf("cleared: %+v, %v", x.Accept, err)
	}
}

func TestPhonebook(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	w.account("b@d.example")
	a := id("a@d.example")
	for i := range 5 {
		e := &ngnpro.PhonebookEntry{URI: fmt.Sprintf("sip:%d@d.example", i), Name: "N'" + fmt.Sprint(i), Group: []string{"x", "y"}[i%2]}
		w.ok(only(w.Phonebook.Add(w.ctx, admin, a, e)))
		is(t, "twice", only(w.Phonebook.Add(w.ctx, admin, a, e)), ngnpro.ErrEntryExists)
	}
	w.ok(only(w.Phonebook.Update(w.ctx, admin, a, &ngnpro.PhonebookEntry{URI: "sip:1@d.example", Name: "One", Group: "x"})))
	w.ok(only(w.Phonebook.Update(w.ctx, admin, a, &ngnpro.PhonebookEntry{URI: "sip:1@d.example", Name: "One", Group: "x"}))) // the same again
	is(t, "nothing there", only(w.Phonebook.Update(w.ctx, admin, a, &ngnpro.PhonebookEntry{URI: "sip:9@d.example"})), ngnpro.ErrEntryNotFound)
	es, err := w.Phonebook.Find(w.ctx, admin, a, &ngnpro.PhonebookEntry{Group: "x"}, &ngnpro.Range{Start: 1, Count: 2})
	w.ok(err)
	if len(es) != 2 || es[0] != (ngnpro.PhonebookEntry{URI: "sip:1@d.example", Name: "One", Group: "x"}) {
		t.Errorf("%+v", es)
	}
	if es, err := w.Phonebook.Find(w.ctx, admin, a, &ngnpro.PhonebookEntry{Name: "N'_"}, nil); err != nil || len(es) != 4 {
		t.Errorf("%+v, %v", es, err)
	}
	if es, err := w.Phonebook.Find(w.ctx, admin, id("b@d.example"), nil, nil); err != nil || len(es) != 0 {
		t.Errorf("of another: %+v, %v", es, err)
	}
	w.ok(only(w.Phonebook.Delete(w.ctx, admin, a, "sip:0@d.example")))
	is(t, "gone", only(w.Phonebook.Delete(w.ctx, admin, a, "sip:0@d.example")), ngnpro.ErrEntryNotFound)
	is(t, "nobody", only(w.Phonebook.Add(w.ctx, admin, id("c@d.example"), &ngnpro.PhonebookEntry{URI: "sip:x@y"})), ngnpro.ErrAccountNotFound)
	_, err = w.Accounts.Delete(w.ctx, admin, a)
	w.ok(err)
	w.check()
}

func TestTrustedPeers(t *testing.T) {
	w := newWorld(t)
	r := w.customer("r", 0)
	w.allow("", "", "256", r)
	w.ok(w.Peers.Add(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: "192.0.2.1", Description: new("a'b"), Tags: new("gw"), CallLimit: new(7), BillingID: new("bill")}))
	w.ok(w.Peers.Add(w.ctx, admin, &ngnpro.TrustedPeer{IP: "2001:db8::1", MSTeams: new(true)}))
	w.ok(w.Peers.Add(w.ctx, admin, &ngnpro.TrustedPeer{IP: "198.51.100.0/24", Blocked: new(true)}))
	is(t, "twice", w.Peers.Add(w.ctx, admin, &ngnpro.TrustedPeer{IP: "2001:db8::1"}), ngnpro.ErrPeerExists)
	w.check()
	w.ok(w.Peers.Update(w.ctx, admin, &ngnpro.TrustedPeer{IP: "198.51.100.0/24", Blocked: new(false)}))
	w.check()
	if got := w.rows("SELECT ip_addr, mask, tag FROM address ORDER BY ip_addr"); got != "192.0.2.1\t32\tgw\n198.51.100.0\t24\t\n2001:db8::1\t128" {
		t.Errorf("address: %q", got)
	}
	w.ok(w.Peers.Update(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: "192.0.2.1", Strip: new(2)}))
	wide := &ngnpro.TrustedPeer{IP: "203.0.0.0/16", Reseller: new(r), Blocked: new(true)}
	w.ok(w.Peers.Add(w.ctx, admin, wide))
	is(t, "unblocked by its reseller", w.Peers.Update(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: wide.IP, Blocked: new(false)}), ngnpro.ErrForbidden)
	w.ok(w.Peers.Delete(w.ctx, reseller(r), wide.IP))
	for _, ip := range []string{"0.0.0.0/0", "198.51.0.0/16", "2001:db8::/32"} {
		is(t, ip+" by a reseller", w.Peers.Add(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: ip}), ngnpro.ErrForbidden)
	}
	is(t, "another's", w.Peers.Update(w.ctx, reseller(r), &ngnpro.TrustedPeer{IP: "2001:db8::1"}), ngnpro.ErrPeerNotFound)
	total, ps, err := w.Peers.Find(w.ctx, admin, &ngnpro.TrustedPeerQuery{OrderBy: &ngnpro.OrderBy{Attribute: "ip", Direction: "DESC"}})
	w.ok(err)
	if p := ps[2]; total != 3 || p.IP != "192.0.2.1" || *p.Description != "a'b" || *p.CallLimit != 7 || *p.Strip != 2 || *p.Reseller != r {
		t.Errorf("%d, %+v", total, ps)
	}
	q := &ngnpro.TrustedPeerQuery{}
	q.Filter.MSTeams = new(true)
	if total, ps, err := w.Peers.Find(w.ctx, admin, q); err != nil || total != 1 || ps[0].IP != "2001:db8::1" {
		t.Errorf("%d, %+v, %v", total, ps, err)
	}
	q = &ngnpro.TrustedPeerQuery{}
	q.Filter.IP = "2001:0DB8::0001" // another way to write it
	if total, ps, err := w.Peers.Find(w.ctx, admin, clean(q)); err != nil || total != 1 || ps[0].IP != "2001:db8::1" {
		t.Errorf("%d, %+v, %v", total, ps, err)
	}
	is(t, "delete another's", w.Peers.Delete(w.ctx, reseller(r), "2001:db8::1"), ngnpro.ErrPeerNotFound)
	for _, ip := range []string{"192.0.2.1", "2001:db8::1", "198.51.100.0/24"} {
		w.ok(w.Peers.Delete(w.ctx, admin, ip))
	}
	w.check()
}

func TestVoicemail(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	w.account("b@d.example")
	a := id("a@d.example")
	_, err := w.Mailboxes.Add(w.ctx, admin, &ngnpro.VoicemailAccount{SipID: id("c@d.example")})
	is(t, "nobody's", err, ngnpro.ErrAccountNotFound)
	_, err = w.Mailboxes.Get(w.ctx, admin, a)
	is(t, "none yet", err, ngnpro.ErrVoicemailNotFound)
	_, err = w.Mailboxes.Add(w.ctx, admin, &ngnpro.VoicemailAccount{SipID: a, Name: new("A"), Password: new("1234"), Email: new("a@mail"), Options: &ngnpro.VoicemailOptions{Delete: true}})
	w.ok(err)
	_, err = w.Mailboxes.Add(w.ctx, admin, &ngnpro.VoicemailAccount{SipID: a})
	is(t, "twice", err, ngnpro.ErrVoicemailExists)
	_, err = w.Mailboxes.Add(w.ctx, admin, &ngnpro.VoicemailAccount{SipID: id("b@d.example")})
	w.ok(err)
	v, err := w.Mailboxes.Get(w.ctx, admin, a)
	w.ok(err)
	other, err := w.Mailboxes.Get(w.ctx, admin, id("b@d.example"))
	w.ok(err)
	x, err := w.Pushes.Subscriber(w.ctx, "a@d.example")
	w.ok(err)
	if *v.Password != "1234" || !v.Options.Delete || v.Mailbox != "1000001" || other.Mailbox == v.Mailbox || x.Mailbox != v.Mailbox {
		t.Errorf("%+v, %+v, %+v", v, other, x)
	}
	v.Name = new("AA")
	v.Password = new("")
	ns, err := w.Mailboxes.Update(w.ctx, admin, clean(v))
	w.ok(err)
	if v, err = w.Mailboxes.Get(w.ctx, admin, a); err != nil || *v.Name != "AA" || *v.Password != "1234" || ns[0].Revision <= x.Revision {
		t.Errorf("%+v, %v", v, err)
	}
	w.ok(w.Mailboxes.SetAnnouncement(w.ctx, admin, a, []byte{0, 255, '\'', 10}))
	if got := w.rows("SELECT HEX(message) FROM voicemail_announcements"); got != "00FF270A" {
		t.Errorf("announcement %s", got)
	}
	_, err = w.Mailboxes.Delete(w.ctx, admin, a)
	w.ok(err)
	if got := w.rows("SELECT COUNT(*) FROM voicemail_announcements"); got != "0" {
		t.Errorf("%s announcements are left", got)
	}
	is(t, "gone", w.Mailboxes.SetAnnouncement(w.ctx, admin, a, nil), ngnpro.ErrVoicemailNotFound)
	_, err = w.Accounts.Delete(w.ctx, admin, id("b@d.example"))
	w.ok(err)
	w.check()
}

func TestEnum(t *testing.T) {
	w := newWorld(t)
	rid := prefix("+3120")
	w.ok(w.Ranges.Add(w.ctx, admin, &ngnpro.EnumRange{ID: prefix("31")}))
	w.ok(w.Ranges.Add(w.ctx, admin, &ngnpro.EnumRange{ID: rid, TTL: new(3600), MinDigits: new(6), MaxDigits: new(8), Size: new(2), Nameservers: &[]string{"ns1.example"}, Info: new("x")}))
	is(t, "twice", w.Ranges.Add(w.ctx, admin, &ngnpro.EnumRange{ID: rid}), ngnpro.ErrRangeExists)
	r, other := w.customer("r1", 0), w.customer("r2", 0)
	w.ok(w.grant(admin, r, allowance.Ranges, "49"))
	w.ok(w.Ranges.Add(w.ctx, reseller(r), &ngnpro.EnumRange{ID: prefix("49")}))
	w.ok(w.Ranges.Add(w.ctx, reseller(r), &ngnpro.EnumRange{ID: prefix("4930")}))
	is(t, "within another's", w.Ranges.Add(w.ctx, reseller(other), &ngnpro.EnumRange{ID: prefix("49301")}), ngnpro.ErrForbidden)
	w.ok(w.Ranges.Delete(w.ctx, admin, prefix("49")))
	w.ok(w.Ranges.Delete(w.ctx, admin, prefix("4930")))
	number := func(n string, ms ...ngnpro.EnumMapping) *ngnpro.EnumNumber {
		return clean(&ngnpro.EnumNumber{ID: phone(n), Mappings: &ms})
	}
	sip := ngnpro.EnumMapping{Type: "sip", MapTo: "sip:a@d.example"}
	is(t, "in no range", w.Numbers.Add(w.ctx, admin, number("442012")), ngnpro.ErrRangeNotFound)
	is(t, "too short", w.Numbers.Add(w.ctx, admin, number("31201")), ngnpro.ErrInvalid)
	is(t, "too long", w.Numbers.Add(w.ctx, admin, number("312012345")), ngnpro.ErrInvalid)
	w.ok(w.Numbers.Add(w.ctx, admin, number("+312012", sip, ngnpro.EnumMapping{Type: "mailto", MapTo: "a@d", Priority: new(1), TTL: new(60)})))
	is(t, "twice", w.Numbers.Add(w.ctx, admin, number("312012")), ngnpro.ErrNumberExists)
	w.ok(w.Numbers.Add(w.ctx, admin, number("312013", sip)))
	is(t, "full", w.Numbers.Add(w.ctx, admin, number("312014")), ngnpro.ErrLimit)
	n, err := w.Numbers.Get(w.ctx, admin, phone("312012"))
	w.ok(err)
	if ms := *n.Mappings; len(ms) != 2 || ms[0].Type != "mailto" || *ms[1].Priority != 5 || *ms[1].TTL != 3600 || ms[1].ID == nil {
		t.Errorf("%+v", n)
	}
	total, rs, err := w.Ranges.Find(w.ctx, admin, &ngnpro.EnumRangeQuery{})
	w.ok(err)
	if r := rs[1]; total != 2 || r.Used != 2 || r.Serial != 3 || *r.TTL != 3600 || !slices.Equal(*r.Nameservers, []string{"ns1.example"}) || r.ID.TLD != "e164.arpa" {
		t.Errorf("%d, %+v", total, rs)
	}
	is(t, "smaller than what is in use", w.Ranges.Update(w.ctx, admin, &ngnpro.EnumRange{ID: rid, Size: new(1)}), ngnpro.ErrInvalid)
	is(t, "not empty", w.Ranges.Delete(w.ctx, admin, rid), ngnpro.ErrRangeNotEmpty)
	w.ok(w.Numbers.Update(w.ctx, admin, &ngnpro.EnumNumber{ID: phone("312012"), Info: new("i")}))
	if n, err = w.Numbers.Get(w.ctx, admin, phone("312012")); err != nil || len(*n.Mappings) != 2 || *n.Info != "i" {
		t.Errorf("absent mappings: %+v, %v", n, err)
	}
	w.ok(w.Numbers.Update(w.ctx, admin, number("312012", ngnpro.EnumMapping{Type: "void:x", MapTo: "y"})))
	q := &ngnpro.EnumNumberQuery{OrderBy: &ngnpro.OrderBy{Attribute: "number", Direction: "DESC"}}
	q.Filter.Type = "sip%"
	if total, ns, err := w.Numbers.Find(w.ctx, admin, q); err != nil || total != 1 || ns[0].ID.Number != "312013" || (*ns[0].Mappings)[0].MapTo != sip.MapTo {
		t.Errorf("%d, %+v, %v", total, ns, err)
	}
	q.Filter.MapTo = "nowhere"
	if total, _, err := w.Numbers.Find(w.ctx, admin, q); err != nil || total != 0 {
		t.Errorf("%d, %v", total, err)
	}
	w.check()
	for _, x := range []string{"312012", "312013"} {
		w.ok(w.Numbers.Delete(w.ctx, admin, phone(x)))
	}
	is(t, "gone", w.Numbers.Update(w.ctx, admin, number("312012")), ngnpro.ErrNumberNotFound)
	w.ok(w.Ranges.Delete(w.ctx, admin, rid))
	is(t, "gone", w.Ranges.Update(w.ctx, admin, &ngnpro.EnumRange{ID: rid}), ngnpro.ErrRangeNotFound)
	w.check()
}
