package ngnpro

// Field tags: `soap:"name"` is the element on the wire; ",ro" marks what the
// server sets and ignores when a client echoes it. A nil pointer or nil slice
// is "not given": an update leaves that field as it is, and an answer leaves
// the element nil. Names, ranges and meanings come from the public clients of
// NGNPro; what those do not tell is ours, and said so.

// A SipID names a subscriber or an alias. Both parts are folded to lower case.
type SipID struct {
	Username string `soap:"username"`
	Domain   string `soap:"domain"`
}

// Key is "username@domain": what the lookup hashes.
func (id SipID) Key() string { return id.Username + "@" + id.Domain }

// A SipDomain is a SIP domain that accounts may be in. Accounts and aliases
// inherit customer and reseller from it.
type SipDomain struct {
	Domain         string  `soap:"domain"`
	Customer       *int    `soap:"customer"`
	Reseller       *int    `soap:"reseller"`
	Certificate    *string `soap:"certificate"` // PEM
	PrivateKey     *string `soap:"private_key"` // PEM; kept, and returned only to who may see the domain
	MatchIPAddress *string `soap:"match_ip_address"`
	MatchSIPDomain *string `soap:"match_sip_domain"`
	VerifyCert     *bool   `soap:"verify_cert"`
	RequireCert    *bool   `soap:"require_cert"`
	ChangeDate     string  `soap:"changeDate,ro"` // "2006-01-02 15:04:05", UTC, as all dates here
}

// A SipAccount is a subscriber.
type SipAccount struct {
	ID SipID `soap:"id"`
	// Password is the clear password, or two MD5 digests in hex with a colon
	// between: of user:domain:password and of user@domain:domain:password.
	Password        *string     `soap:"password"`
	FirstName       *string     `soap:"firstName"`
	LastName        *string     `soap:"lastName"`
	Email           *string     `soap:"email"`
	Timezone        *string     `soap:"timezone"` // of the tz database
	Owner           *int        `soap:"owner"`
	Customer        int         `soap:"customer,ro"`
	Reseller        int         `soap:"reseller,ro"`
	RPID            *string     `soap:"rpid"` // caller id towards the PSTN
	Groups          *[]string   `soap:"groups"`
	Prepaid         *bool       `soap:"prepaid"`
	Quota           *int        `soap:"quota"`
	CallLimit       *int        `soap:"callLimit"`
	ACL             *[]ACLEntry `soap:"acl"`
	Region          *string     `soap:"region"`
	QuickdialPrefix *string     `soap:"quickdialPrefix"`
	Timeout         *int        `soap:"timeout"` // no-answer time in seconds, 1 to 900; default 35
	Properties      *[]Property `soap:"properties"`
	CreateDate      string      `soap:"createDate,ro"`
	ChangeDate      string      `soap:"changeDate,ro"`
}

// An ACLEntry is a network from which an account may register and call.
type ACLEntry struct {
	IP   string  `soap:"ip"`
	Mask int     `soap:"mask"` // prefix length
	Tag  *string `soap:"tag"`
}

// A Property is a name and a value that somebody keeps with an account.
type Property struct {
	Name  string `soap:"name"`
	Value string `soap:"value"`
}

// A SipAlias is another address of a subscriber.
type SipAlias struct {
	ID         SipID  `soap:"id"`
	Target     SipID  `soap:"target"`
	Owner      *int   `soap:"owner"`
	Customer   int    `soap:"customer,ro"`
	Reseller   int    `soap:"reseller,ro"`
	ChangeDate string `soap:"changeDate,ro"`
}

// CallDiversions say where calls go instead; each is a sip or sips URI, or the
// words "<voice-mailbox>". Setting them replaces the whole set.
type CallDiversions struct {
	All         *string `soap:"FUNC"`
	NotOnline   *string `soap:"FNOL"`
	Busy        *string `soap:"FBUS"`
	NoAnswer    *string `soap:"FNOA"`
	Unavailable *string `soap:"FUNV"`
}

// AcceptRules say whose calls get through, and when.
type AcceptRules struct {
	Persistent []AcceptRule     `soap:"persistent"`
	Temporary  *TemporaryAccept `soap:"temporary"`
}

// An AcceptRule holds between two times of day. Groups are "everybody",
// "nobody", or groups of the phonebook; Days is a bit mask, Monday is 1.
type AcceptRule struct {
	Start  string   `soap:"start"` // "HH:MM"
	Stop   string   `soap:"stop"`
	Groups []string `soap:"groups"`
	Days   int      `soap:"days"`
}

// A TemporaryAccept holds for Duration minutes from when it is set.
type TemporaryAccept struct {
	Groups   []string `soap:"groups"`
	Duration int      `soap:"duration"`
}

// A PhonebookEntry is one contact of a subscriber.
type PhonebookEntry struct {
	URI   string `soap:"uri"`
	Name  string `soap:"name"`
	Group string `soap:"group"`
}

// A TrustedPeer is a host whose calls need no authentication.
type TrustedPeer struct {
	IP          string  `soap:"ip"`
	Description *string `soap:"description"`
	CallLimit   *int    `soap:"callLimit"`
	MSTeams     *bool   `soap:"msteams"`
	Tenant      *string `soap:"tenant"`
	CarrierName *string `soap:"carrierName"`
	Originator  *string `soap:"originator"`
	Prefix      *string `soap:"prefix"`
	Strip       *int    `soap:"strip"`
	Blocked     *bool   `soap:"blocked"`
	EnumLookup  *bool   `soap:"enumLookup"`
	Transit     *bool   `soap:"transit"`
	Prepaid     *bool   `soap:"prepaid"`
	Tags        *string `soap:"tags"`
	BillingID   *string `soap:"billingId"`
	AuthToken   *string `soap:"authToken"`
	Owner       *int    `soap:"owner"`
	Customer    *int    `soap:"customer"`
	Reseller    *int    `soap:"reseller"`
	ChangeDate  string  `soap:"changeDate,ro"`
}

// A VoicemailAccount is the mailbox of a subscriber.
type VoicemailAccount struct {
	SipID    SipID             `soap:"sipId"`
	Mailbox  string            `soap:"mailbox,ro"` // a number, assigned by the server
	Name     *string           `soap:"name"`
	Password *string           `soap:"password"` // PIN
	Email    *string           `soap:"email"`
	Info     *string           `soap:"info"`
	Options  *VoicemailOptions `soap:"options"`
}

// VoicemailOptions of a mailbox.
type VoicemailOptions struct {
	Delete bool `soap:"delete"` // messages after they were sent by e-mail
}

// An EnumRangeID names a range of telephone numbers.
type EnumRangeID struct {
	Prefix string `soap:"prefix"` // digits
	TLD    string `soap:"tld"`    // default "e164.arpa"
}

// An EnumRange is a range of telephone numbers that may be mapped.
type EnumRange struct {
	ID          EnumRangeID `soap:"id"`
	TTL         *int        `soap:"ttl"` // seconds; default 3600
	MinDigits   *int        `soap:"minDigits"`
	MaxDigits   *int        `soap:"maxDigits"`
	Size        *int        `soap:"size"` // numbers it may hold; 0: no limit
	Nameservers *[]string   `soap:"nameservers"`
	Used        int         `soap:"used,ro"`
	Serial      int         `soap:"serial,ro"`
	Customer    *int        `soap:"customer"`
	Reseller    *int        `soap:"reseller"`
	Info        *string     `soap:"info"`
	ChangeDate  string      `soap:"changeDate,ro"`
}

// An EnumID names a telephone number.
type EnumID struct {
	Number string `soap:"number"` // digits
	TLD    string `soap:"tld"`    // default "e164.arpa"
}

// An EnumNumber is a telephone number with where it leads.
type EnumNumber struct {
	ID         EnumID         `soap:"id"`
	Owner      *int           `soap:"owner"`
	Info       *string        `soap:"info"`
	Mappings   *[]EnumMapping `soap:"mappings"` // an update replaces the list
	Customer   int            `soap:"customer,ro"`
	Reseller   int            `soap:"reseller,ro"`
	ChangeDate string         `soap:"changeDate,ro"`
}

// An EnumMapping is one service of a number.
type EnumMapping struct {
	ID       *int   `soap:"id"` // assigned by the server
	Type     string `soap:"type"`
	MapTo    string `soap:"mapto"`
	Priority *int   `soap:"priority"` // default 5
	TTL      *int   `soap:"ttl"`      // seconds; default 3600
}

// A CustomerAccount is a customer, or a reseller when ID equals Reseller.
type CustomerAccount struct {
	ID             *int                `soap:"id"` // assigned by the server
	Reseller       *int                `soap:"reseller"`
	Impersonate    *int                `soap:"impersonate"` // a reseller's id gives a reseller's rights
	ResellerActive *bool               `soap:"resellerActive"`
	CompanyCode    *string             `soap:"companyCode"`
	Balance        *float64            `soap:"balance"`
	Credit         *float64            `soap:"credit"`
	Username       *string             `soap:"username"`
	Password       *string             `soap:"password"` // never returned; nil or empty keeps it
	FirstName      *string             `soap:"firstName"`
	LastName       *string             `soap:"lastName"`
	Organization   *string             `soap:"organization"`
	Tel            *string             `soap:"tel"`
	Fax            *string             `soap:"fax"`
	SIP            *string             `soap:"sip"`
	Enum           *string             `soap:"enum"`
	Mobile         *string             `soap:"mobile"`
	Email          *string             `soap:"email"`
	Web            *string             `soap:"web"`
	Address        *string             `soap:"address"`
	Postcode       *string             `soap:"postcode"`
	City           *string             `soap:"city"`
	State          *string             `soap:"state"`
	Country        *string             `soap:"country"`
	Timezone       *string             `soap:"timezone"`
	Language       *string             `soap:"language"`
	VATNumber      *string             `soap:"vatNumber"`
	BankAccount    *string             `soap:"bankAccount"`
	BillingEmail   *string             `soap:"billingEmail"`
	BillingAddress *string             `soap:"billingAddress"`
	Properties     *[]CustomerProperty `soap:"properties"`
}

// A CustomerProperty is a setting of a customer, such as "sip_credit", which
// limits how many accounts there may be.
type CustomerProperty struct {
	Name       string  `soap:"name"`
	Category   *string `soap:"category"`
	Value      string  `soap:"value"`
	Permission *string `soap:"permission"`
}
