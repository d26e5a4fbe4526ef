package ngnpro

// A SipDomain is a SIP domain that accounts may be in. Accounts and aliases
// inherit customer and reseller from it.
type SipDomain struct {
	Domain         string  `soap:"domain"`
	Customer       *int    `soap:"customer" rule:"number"`
	Reseller       *int    `soap:"reseller" rule:"number"`
	Certificate    *string `soap:"certificate" rule:"lines 16000"` // PEM
	PrivateKey     *string `soap:"private_key" rule:"lines 16000"` // PEM; returned to callers that see the domain
	MatchIPAddress *string `soap:"match_ip_address" rule:"text 255"`
	MatchSIPDomain *string `soap:"match_sip_domain" rule:"text 255"`
	VerifyCert     *bool   `soap:"verify_cert"`
	RequireCert    *bool   `soap:"require_cert"`
	ChangeDate     string  `soap:"changeDate,ro"` // "2006-01-02 15:04:05", UTC, as all dates here
}

// Clean folds and checks a domain.
func (d *SipDomain) Clean() error {
	return first(host("domain.domain", &d.Domain), fields("domain", d))
}

// Domain folds and checks the name of a domain.
func Domain(name *string) error { return host("domain", name) }
