package provisioning

import (
	"context"

	"thor/provisioning/ngnpro"
	"thor/subjects"
)

// A Store keeps everything in the central database. Its errors are the faults
// of ngnpro; whatever the database itself says becomes ngnpro.ErrUnavailable
// with the cause wrapped for the log, never shown to a client. Every method is
// one transaction. Records that v does not see are "not found", except that
// creating what exists elsewhere tells that it exists.
//
// Whatever changes the profile of subscribers returns their notices (From is
// empty), which are in the database as well, as pushes to be acknowledged.
type Store interface {
	Domains
	Accounts
	Screening
	Peers
	Voicemail
	Enum
	Customers
	Pushes
}

// Notices are the subscribers whose profile a call changed.
type Notices = []subjects.SubscriberNotice

// Domains are SIP domains.
type Domains interface {
	AddDomain(ctx context.Context, v ngnpro.Viewer, d *ngnpro.SipDomain) error
	UpdateDomain(ctx context.Context, v ngnpro.Viewer, d *ngnpro.SipDomain) (Notices, error) // customer and reseller of its accounts follow
	DeleteDomain(ctx context.Context, v ngnpro.Viewer, domain string) error
	FindDomains(ctx context.Context, v ngnpro.Viewer, q *ngnpro.SipDomainQuery) (total int, ds []ngnpro.SipDomain, err error)
	CountAccounts(ctx context.Context) (map[string]int, error) // by domain
}

// Accounts are subscribers, their groups and aliases.
type Accounts interface {
	// AddAccount with the user name "<autoincrement>" allocates one, a number.
	AddAccount(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAccount) (ngnpro.SipID, Notices, error)
	UpdateAccount(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAccount) (Notices, error)
	DeleteAccount(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (Notices, error) // with all that belongs to it
	Account(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.SipAccount, error)
	FindAccounts(ctx context.Context, v ngnpro.Viewer, q *ngnpro.SipQuery) (total int, as []ngnpro.SipAccount, err error)
	AddToGroup(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, group string) (Notices, error)
	RemoveFromGroup(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, group string) (Notices, error)
	Groups(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) ([]string, error)

	AddAlias(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAlias) (Notices, error)
	UpdateAlias(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAlias) (Notices, error)
	DeleteAlias(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (Notices, error)
	Alias(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.SipAlias, error)
	FindAliases(ctx context.Context, v ngnpro.Viewer, q *ngnpro.AliasQuery) (total int, as []ngnpro.SipAlias, err error)
}

// Screening is what happens to a subscriber's calls.
type Screening interface {
	SetCallDiversions(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, d *ngnpro.CallDiversions) (Notices, error)
	CallDiversions(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.CallDiversions, error)
	SetBarringPrefixes(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, prefixes []string) (Notices, error)
	BarringPrefixes(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) ([]string, error)
	SetRejectMembers(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, members []string) (Notices, error)
	RejectMembers(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) ([]string, error)
	SetAcceptRules(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, r *ngnpro.AcceptRules) (Notices, error)
	// AcceptRules tells also which groups of the phonebook have entries.
	AcceptRules(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (r *ngnpro.AcceptRules, nonEmpty []string, err error)
	AddPhonebookEntry(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, e *ngnpro.PhonebookEntry) (Notices, error)
	UpdatePhonebookEntry(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, e *ngnpro.PhonebookEntry) (Notices, error)
	DeletePhonebookEntry(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, uri string) (Notices, error)
	// PhonebookEntries filters by the fields of match that are not empty.
	PhonebookEntries(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, match *ngnpro.PhonebookEntry, r *ngnpro.Range) ([]ngnpro.PhonebookEntry, error)
}

// Peers are hosts that are trusted by address.
type Peers interface {
	AddTrustedPeer(ctx context.Context, v ngnpro.Viewer, p *ngnpro.TrustedPeer) error
	UpdateTrustedPeer(ctx context.Context, v ngnpro.Viewer, p *ngnpro.TrustedPeer) error
	DeleteTrustedPeer(ctx context.Context, v ngnpro.Viewer, ip string) error
	FindTrustedPeers(ctx context.Context, v ngnpro.Viewer, q *ngnpro.TrustedPeerQuery) (total int, ps []ngnpro.TrustedPeer, err error)
}

// Voicemail are mailboxes.
type Voicemail interface {
	AddVoicemail(ctx context.Context, v ngnpro.Viewer, a *ngnpro.VoicemailAccount) (Notices, error)
	UpdateVoicemail(ctx context.Context, v ngnpro.Viewer, a *ngnpro.VoicemailAccount) (Notices, error)
	DeleteVoicemail(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (Notices, error)
	Voicemail(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.VoicemailAccount, error)
	SetAnnouncement(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, message []byte) error
}

// Enum are telephone numbers.
type Enum interface {
	AddRange(ctx context.Context, v ngnpro.Viewer, r *ngnpro.EnumRange) error
	UpdateRange(ctx context.Context, v ngnpro.Viewer, r *ngnpro.EnumRange) error
	DeleteRange(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumRangeID) error
	FindRanges(ctx context.Context, v ngnpro.Viewer, q *ngnpro.EnumRangeQuery) (total int, rs []ngnpro.EnumRange, err error)
	AddNumber(ctx context.Context, v ngnpro.Viewer, n *ngnpro.EnumNumber) error
	UpdateNumber(ctx context.Context, v ngnpro.Viewer, n *ngnpro.EnumNumber) error
	DeleteNumber(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumID) error
	Number(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumID) (*ngnpro.EnumNumber, error)
	FindNumbers(ctx context.Context, v ngnpro.Viewer, q *ngnpro.EnumNumberQuery) (total int, ns []ngnpro.EnumNumber, err error)
}

// Customers are the parties to whom records belong.
type Customers interface {
	// Credentials are the party of a user name and what HashPassword made of its
	// password, or ErrCustomerNotFound. It is asked at each call that is no
	// administrator's: one statement.
	Credentials(ctx context.Context, username string) (c *ngnpro.CustomerAccount, hash string, err error)
	AddCustomer(ctx context.Context, v ngnpro.Viewer, c *ngnpro.CustomerAccount) (*ngnpro.CustomerAccount, error)
	UpdateCustomer(ctx context.Context, v ngnpro.Viewer, c *ngnpro.CustomerAccount) error
	DeleteCustomer(ctx context.Context, v ngnpro.Viewer, id int) error
	Customer(ctx context.Context, v ngnpro.Viewer, id int) (*ngnpro.CustomerAccount, error)
	// FindCustomers finds resellers only if resellers is set, else customers only.
	FindCustomers(ctx context.Context, v ngnpro.Viewer, q *ngnpro.CustomerQuery, resellers bool) (total int, cs []ngnpro.CustomerAccount, err error)
	SetProperties(ctx context.Context, v ngnpro.Viewer, customer int, ps []ngnpro.CustomerProperty) error
	Properties(ctx context.Context, v ngnpro.Viewer, customer int) ([]ngnpro.CustomerProperty, error)
}

// Pushes are profiles, and what nodes have not heard of yet.
type Pushes interface {
	// Subscriber is the profile of key: an account, an alias, or one that is
	// marked deleted, with the revision of its deletion (0: it never was).
	Subscriber(ctx context.Context, key string) (*subjects.Subscriber, error)
	// Changes lists the keys changed after revision since.
	Changes(ctx context.Context, since uint64) (*subjects.ChangedKeys, error)
	// Trust is whom proxies trust, and which domains are served.
	Trust(ctx context.Context) (*subjects.Trust, error)
	// Pending lists pushes that nobody has acknowledged, the oldest first.
	Pending(ctx context.Context, limit int) (Notices, error)
	// Acknowledge ends the pushes of these keys up to their revisions.
	Acknowledge(ctx context.Context, ns Notices) error
}
