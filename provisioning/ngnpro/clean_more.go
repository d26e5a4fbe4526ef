package ngnpro

import (
	"net/netip"
	"slices"
	"strings"
)

// Clean checks a trusted peer.
func (p *TrustedPeer) Clean() error {
	return first(
		PeerIP(&p.IP), texts(maxText, "peer.description", p.Description, "peer.tags", p.Tags, "peer.authToken", p.AuthToken),
		texts(maxName, "peer.tenant", p.Tenant, "peer.carrierName", p.CarrierName, "peer.originator", p.Originator,
			"peer.prefix", p.Prefix, "peer.billingId", p.BillingID),
		ids("peer.callLimit", p.CallLimit, "peer.owner", p.Owner, "peer.customer", p.Customer, "peer.reseller", p.Reseller),
		within("peer.strip", p.Strip, 0, 64), plain("peer.prefix", p.Prefix), plain("peer.originator", p.Originator),
	)
}

// PeerIP brings an address, or a network in CIDR form, into its one spelling.
func PeerIP(p *string) error {
	s := strings.TrimSpace(*p)
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		*p = a.Unmap().String()
		return nil
	}
	n, err := netip.ParsePrefix(s)
	if err != nil {
		return invalid("ip", "is neither an IP address nor a network such as 192.0.2.0/24")
	}
	*p = n.Masked().String()
	return nil
}

// Clean checks a mailbox.
func (a *VoicemailAccount) Clean() error {
	if a.Password != nil && *a.Password == "" {
		a.Password = nil
	}
	if a.Password != nil {
		if err := text("account.password", *a.Password, 32); err != nil {
			return err
		}
	}
	if a.Info != nil {
		if err := lines("account.info", *a.Info, maxInfo); err != nil {
			return err
		}
	}
	return first(a.SipID.clean("account.sipId"), texts(maxName, "account.name", a.Name), email("account.email", a.Email))
}

// Clean folds and checks the name of a range.
func (id *EnumRangeID) Clean() error {
	return first(number("range.prefix", &id.Prefix, 32), tld(&id.TLD))
}

// Clean folds and checks the name of a number.
func (id *EnumID) Clean() error {
	return first(number("enumId.number", &id.Number, 32), tld(&id.TLD))
}

// number strips what people write around the digits of a telephone number.
func number(field string, p *string, longest int) error {
	*p = strings.TrimPrefix(strings.TrimSpace(*p), "+")
	if *p == "" || len(*p) > longest || !madeOf(*p, digits) {
		return invalid(field, "is not 1 to %d digits", longest)
	}
	return nil
}

func tld(p *string) error {
	if strings.TrimSpace(*p) == "" {
		*p = DefaultTLD
	}
	return domain("tld", p)
}

// Clean checks a range.
func (r *EnumRange) Clean() error {
	if r.Nameservers != nil {
		for i := range *r.Nameservers {
			if err := domain("range.nameservers", &(*r.Nameservers)[i]); err != nil {
				return err
			}
		}
	}
	if r.Info != nil {
		if err := lines("range.info", *r.Info, maxInfo); err != nil {
			return err
		}
	}
	if r.MinDigits != nil && r.MaxDigits != nil && *r.MinDigits > *r.MaxDigits {
		return invalid("range.minDigits", "is greater than maxDigits")
	}
	return first(
		r.ID.Clean(), within("range.ttl", r.TTL, 0, maxInt), within("range.minDigits", r.MinDigits, 0, 32),
		within("range.maxDigits", r.MaxDigits, 0, 32),
		ids("range.size", r.Size, "range.customer", r.Customer, "range.reseller", r.Reseller),
	)
}

// CleanNew is Clean, and what a new range leaves open gets its default.
func (r *EnumRange) CleanNew() error {
	set(&r.TTL, DefaultTTL)
	return r.Clean()
}

// Clean checks a number; what a mapping leaves open gets its default.
func (n *EnumNumber) Clean() error {
	if n.Info != nil {
		if err := lines("number.info", *n.Info, maxInfo); err != nil {
			return err
		}
	}
	if err := first(n.ID.Clean(), ids("number.owner", n.Owner)); err != nil || n.Mappings == nil {
		return err
	}
	if len(*n.Mappings) > 100 {
		return invalid("number.mappings", "has more than 100 items")
	}
	for i := range *n.Mappings {
		if err := (*n.Mappings)[i].clean(); err != nil {
			return err
		}
	}
	return nil
}

func (m *EnumMapping) clean() error {
	m.Type, m.MapTo = strings.ToLower(strings.TrimSpace(m.Type)), strings.TrimSpace(m.MapTo)
	set(&m.TTL, DefaultTTL)
	set(&m.Priority, DefaultPriority)
	switch {
	case m.Type == "" || len(m.Type) > maxName || !madeOf(m.Type, letters+digits+":-+*"):
		return invalid("number.mappings.type", "is not a service such as sip, mailto or web:http")
	case m.MapTo == "" || len(m.MapTo) > maxText || !uriText(m.MapTo):
		return invalid("number.mappings.mapto", "is missing, too long or holds characters that may not stand in a URI")
	}
	return first(within("number.mappings.priority", m.Priority, 0, 65535), within("number.mappings.ttl", m.TTL, 0, maxInt))
}

// Clean checks a customer.
func (c *CustomerAccount) Clean() error {
	if c.Password != nil && *c.Password == "" {
		c.Password = nil
	}
	if c.Password != nil && (len(*c.Password) > 72 || text("", *c.Password, 72) != nil) {
		return invalid("account.password", "is longer than 72 bytes, or holds a control character")
	}
	if c.Username != nil {
		*c.Username = strings.TrimSpace(*c.Username)
		if *c.Username == "" || len(*c.Username) > maxName || !madeOf(strings.ToLower(*c.Username), letters+digits+"._-@+") {
			return invalid("account.username", "is not 1 to %d letters, digits and . _ - @ +", maxName)
		}
	}
	if c.Properties != nil {
		if err := CustomerProperties(*c.Properties); err != nil {
			return err
		}
	}
	for _, p := range []*string{c.Address, c.BillingAddress, c.BankAccount} {
		if p != nil {
			if err := lines("account.address", *p, maxText); err != nil {
				return err
			}
		}
	}
	return first(
		texts(maxText, "account.companyCode", c.CompanyCode, "account.firstName", c.FirstName, "account.lastName", c.LastName,
			"account.organization", c.Organization, "account.tel", c.Tel, "account.fax", c.Fax, "account.sip", c.SIP,
			"account.enum", c.Enum, "account.mobile", c.Mobile, "account.web", c.Web, "account.postcode", c.Postcode,
			"account.city", c.City, "account.state", c.State, "account.country", c.Country, "account.language", c.Language,
			"account.vatNumber", c.VATNumber),
		email("account.email", c.Email), email("account.billingEmail", c.BillingEmail), timezone("account.timezone", c.Timezone),
		ids("account.id", c.ID, "account.reseller", c.Reseller, "account.impersonate", c.Impersonate),
	)
}

// CleanNew is Clean for a customer that is to be added, who needs a user name
// and a password.
func (c *CustomerAccount) CleanNew() error {
	if err := c.Clean(); err != nil {
		return err
	}
	switch {
	case c.Username == nil:
		return invalid("account.username", "is missing")
	case c.Password == nil:
		return invalid("account.password", "is missing")
	}
	return nil
}

// CustomerProperties checks a list of properties.
func CustomerProperties(ps []CustomerProperty) error {
	if len(ps) > maxList {
		return invalid("properties", "has more than %d items", maxList)
	}
	var seen []string
	for i := range ps {
		p := &ps[i]
		p.Name = strings.TrimSpace(p.Name)
		if p.Name == "" || slices.Contains(seen, p.Name) {
			return invalid("properties", "has one without a name, or a name twice")
		}
		seen = append(seen, p.Name)
		if err := first(text("properties", p.Name, maxName), lines("properties", p.Value, maxInfo),
			texts(maxName, "properties.category", p.Category, "properties.permission", p.Permission)); err != nil {
			return err
		}
	}
	return nil
}
