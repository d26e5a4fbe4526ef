package provisioning

import (
	"context"

	"thor/overlay/subscriber"
	"thor/provisioning/ngnpro"
)

// Records are all that is kept in the central database, by its kinds. Their errors
// are the faults of ngnpro; whatever the database itself says becomes
// ngnpro.ErrUnavailable with the cause wrapped for the log, never shown to a
// client. Every method is one transaction. Records that v does not see are "not
// found", except that creating what exists elsewhere tells that it exists.
//
// Whatever changes the profile of subscribers returns their notices (From is
// empty), which are in the database as well, as pushes to be acknowledged.
type Records struct {
	Domains   Domains
	Accounts  Accounts
	Aliases   Aliases
	Screening Screening
	Phonebook Phonebook
	Peers     Peers
	Mailboxes Mailboxes
	Ranges    Ranges
	Numbers   Numbers
	Customers Customers
	Pushes    Pushes
}

// Notices are the subscribers whose profile a call changed.
type Notices = []subscriber.Notice

// Domains are SIP domains.
type Domains interface {
	Add(ctx context.Context, v ngnpro.Viewer, d *ngnpro.SipDomain) error
	Update(ctx context.Context, v ngnpro.Viewer, d *ngnpro.SipDomain) (Notices, error) // customer and reseller of its accounts follow
	Delete(ctx context.Context, v ngnpro.Viewer, domain string) error
	Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.SipDomainQuery) (total int, ds []ngnpro.SipDomain, err error)
	CountAccounts(ctx context.Context) (map[string]int, error) // by domain
}

// Accounts are subscribers and their groups.
type Accounts interface {
	// Add with the user name "<autoincrement>" allocates one, a number.
	Add(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAccount) (ngnpro.SipID, Notices, error)
	Update(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAccount) (Notices, error)
	Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (Notices, error) // with all that belongs to it
	Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.SipAccount, error)
	Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.SipQuery) (total int, as []ngnpro.SipAccount, err error)
	AddToGroup(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, group string) (Notices, error)
	RemoveFromGroup(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, group string) (Notices, error)
	Groups(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) ([]string, error)
}

// Aliases are other addresses of subscribers.
type Aliases interface {
	Add(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAlias) (Notices, error)
	Update(ctx context.Context, v ngnpro.Viewer, a *ngnpro.SipAlias) (Notices, error)
	Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (Notices, error)
	Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.SipAlias, error)
	Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.AliasQuery) (total int, as []ngnpro.SipAlias, err error)
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
}

// Phonebook is the contacts of subscribers.
type Phonebook interface {
	Add(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, e *ngnpro.PhonebookEntry) (Notices, error)
	Update(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, e *ngnpro.PhonebookEntry) (Notices, error)
	Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, uri string) (Notices, error)
	// Find filters by the fields of match that are not empty.
	Find(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, match *ngnpro.PhonebookEntry, r *ngnpro.Range) ([]ngnpro.PhonebookEntry, error)
}

// Peers are hosts that are trusted by address.
type Peers interface {
	Add(ctx context.Context, v ngnpro.Viewer, p *ngnpro.TrustedPeer) error
	Update(ctx context.Context, v ngnpro.Viewer, p *ngnpro.TrustedPeer) error
	Delete(ctx context.Context, v ngnpro.Viewer, ip string) error
	Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.TrustedPeerQuery) (total int, ps []ngnpro.TrustedPeer, err error)
}

// Mailboxes are those of subscribers.
type Mailboxes interface {
	Add(ctx context.Context, v ngnpro.Viewer, a *ngnpro.VoicemailAccount) (Notices, error)
	Update(ctx context.Context, v ngnpro.Viewer, a *ngnpro.VoicemailAccount) (Notices, error)
	Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (Notices, error)
	Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.VoicemailAccount, error)
	SetAnnouncement(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, message []byte) error
}

// Ranges are ranges of telephone numbers.
type Ranges interface {
	Add(ctx context.Context, v ngnpro.Viewer, r *ngnpro.EnumRange) error
	Update(ctx context.Context, v ngnpro.Viewer, r *ngnpro.EnumRange) error
	Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumRangeID) error
	Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.EnumRangeQuery) (total int, rs []ngnpro.EnumRange, err error)
}

// Numbers are telephone numbers with where they lead.
type Numbers interface {
	Add(ctx context.Context, v ngnpro.Viewer, n *ngnpro.EnumNumber) error
	Update(ctx context.Context, v ngnpro.Viewer, n *ngnpro.EnumNumber) error
	Delete(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumID) error
	Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumID) (*ngnpro.EnumNumber, error)
	Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.EnumNumberQuery) (total int, ns []ngnpro.EnumNumber, err error)
}

// Customers are the parties to whom records belong.
type Customers interface {
	// Credentials are the party of a user name and what HashPassword made of its
	// password, or ErrCustomerNotFound. It is asked at each call that is no
	// administrator's: one statement.
	Credentials(ctx context.Context, username string) (c *ngnpro.CustomerAccount, hash string, err error)
	Add(ctx context.Context, v ngnpro.Viewer, c *ngnpro.CustomerAccount) (*ngnpro.CustomerAccount, error)
	Update(ctx context.Context, v ngnpro.Viewer, c *ngnpro.CustomerAccount) error
	Delete(ctx context.Context, v ngnpro.Viewer, id int) error
	Get(ctx context.Context, v ngnpro.Viewer, id int) (*ngnpro.CustomerAccount, error)
	// Find finds resellers only if resellers is set, else customers only.
	Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.CustomerQuery, resellers bool) (total int, cs []ngnpro.CustomerAccount, err error)
	SetProperties(ctx context.Context, v ngnpro.Viewer, customer int, ps []ngnpro.CustomerProperty) error
	Properties(ctx context.Context, v ngnpro.Viewer, customer int) ([]ngnpro.CustomerProperty, error)
}

// Pushes are profiles, and what nodes have not heard of yet.
type Pushes interface {
	// Subscriber is the profile of key: an account, an alias, or one that is
	// marked deleted, with the revision of its deletion (0: it never was).
	Subscriber(ctx context.Context, key string) (*subscriber.Profile, error)
	// Changes lists the keys changed after revision since.
	Changes(ctx context.Context, since uint64) (*subscriber.ChangedKeys, error)
	// Trust is whom proxies trust, and which domains are served.
	Trust(ctx context.Context) (*subscriber.Trust, error)
	// Pending lists pushes that nobody has acknowledged, the oldest first.
	Pending(ctx context.Context, limit int) (Notices, error)
	// Acknowledge ends the pushes of these keys up to their revisions.
	Acknowledge(ctx context.Context, ns Notices) error
}
