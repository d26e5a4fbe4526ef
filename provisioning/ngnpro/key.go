package ngnpro

import "strconv"

// The methods Key name a record in logs, by nothing of its values.

func (d SipDomain) Key() string        { return d.Domain }
func (a SipAccount) Key() string       { return a.ID.Key() }
func (a SipAlias) Key() string         { return a.ID.Key() }
func (p TrustedPeer) Key() string      { return p.IP }
func (e PhonebookEntry) Key() string   { return e.URI }
func (a VoicemailAccount) Key() string { return a.SipID.Key() }
func (id EnumRangeID) Key() string     { return id.Prefix + " " + id.TLD }
func (r EnumRange) Key() string        { return r.ID.Key() }
func (id EnumID) Key() string          { return id.Number + " " + id.TLD }
func (n EnumNumber) Key() string       { return n.ID.Key() }

func (z DnsZone) Key() string { return z.Name }

// Key of a record is its number, or its name and type where it has none yet.
func (r DnsRecord) Key() string {
	if r.ID != nil {
		return strconv.Itoa(*r.ID)
	}
	return r.Name + " " + r.Type
}

// Key of a customer is its number, or its login where it has none yet.
func (c CustomerAccount) Key() string {
	switch {
	case c.ID != nil:
		return strconv.Itoa(*c.ID)
	case c.Username != nil:
		return *c.Username
	}
	return ""
}
