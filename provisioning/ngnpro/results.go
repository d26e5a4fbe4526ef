package ngnpro

// Answers of list operations: Total is the number of records that match, before
// the range is applied.

// SipDomains answers getDomains.
type SipDomains struct {
	Total   int         `soap:"total"`
	Domains []SipDomain `soap:"domains"`
}

// SipAccounts answers getAccounts.
type SipAccounts struct {
	Total    int          `soap:"total"`
	Accounts []SipAccount `soap:"accounts"`
}

// SipAliases answers getAliases.
type SipAliases struct {
	Total   int        `soap:"total"`
	Aliases []SipAlias `soap:"aliases"`
}

// TrustedPeers answers getTrustedPeers.
type TrustedPeers struct {
	Total int           `soap:"total"`
	Peers []TrustedPeer `soap:"peers"`
}

// EnumRanges answers getRanges.
type EnumRanges struct {
	Total  int         `soap:"total"`
	Ranges []EnumRange `soap:"ranges"`
}

// EnumNumbers answers getNumbers.
type EnumNumbers struct {
	Total   int          `soap:"total"`
	Numbers []EnumNumber `soap:"numbers"`
}

// DnsZones answers getZones.
type DnsZones struct {
	Total int       `soap:"total"`
	Zones []DnsZone `soap:"zones"`
}

// DnsRecords answers getRecords.
type DnsRecords struct {
	Total   int         `soap:"total"`
	Records []DnsRecord `soap:"records"`
}

// CustomerAccounts answers getCustomers and getResellers.
type CustomerAccounts struct {
	Total    int               `soap:"total"`
	Accounts []CustomerAccount `soap:"accounts"`
}

// PhonebookEntries answers getPhonebookEntries.
type PhonebookEntries struct {
	Entries []PhonebookEntry `soap:"entries"`
}

// AcceptRulesState answers getAcceptRules.
type AcceptRulesState struct {
	Rules          AcceptRules `soap:"rules"`
	NonEmptyGroups []string    `soap:"nonEmptyGroups"` // of the phonebook
}

// DeviceLocations answers getSipDeviceLocations for one subscriber.
type DeviceLocations struct {
	Locations []DeviceLocation `soap:"locations"`
}

// A DeviceLocation is where one device of a subscriber is registered.
type DeviceLocation struct {
	Address       string `soap:"address"` // the device's own
	Port          int    `soap:"port"`
	PublicAddress string `soap:"publicAddress"` // where its packets come from
	PublicPort    int    `soap:"publicPort"`
	Expires       int    `soap:"expires"` // seconds left
	UserAgent     string `soap:"userAgent"`
	Transport     string `soap:"transport"` // "udp", "tcp", "tls", "ws", "wss"
}
