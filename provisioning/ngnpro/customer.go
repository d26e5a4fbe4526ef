package ngnpro

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"thor/overlay/subscriber"
)

// A CustomerAccount is a customer, or a reseller when ID equals Reseller.
type CustomerAccount struct {
	ID             *int                `soap:"id" rule:"number"` // assigned by the server
	Reseller       *int                `soap:"reseller" rule:"number"`
	Impersonate    *int                `soap:"impersonate" rule:"number"` // a reseller's id gives a reseller's rights
	ResellerActive *bool               `soap:"resellerActive"`
	CompanyCode    *string             `soap:"companyCode" rule:"text 64"`
	Balance        *float64            `soap:"balance"`
	Credit         *float64            `soap:"credit"`
	Username       *string             `soap:"username"`
	Password       *string             `soap:"password"` // never returned; nil or empty keeps it
	FirstName      *string             `soap:"firstName" rule:"text 64"`
	LastName       *string             `soap:"lastName" rule:"text 64"`
	Organization   *string             `soap:"organization" rule:"text 128"`
	Tel            *string             `soap:"tel" rule:"text 64"`
	Fax            *string             `soap:"fax" rule:"text 64"`
	SIP            *string             `soap:"sip" rule:"text 255"`
	Enum           *string             `soap:"enum" rule:"text 64"`
	Mobile         *string             `soap:"mobile" rule:"text 64"`
	Email          *string             `soap:"email" rule:"email"`
	Web            *string             `soap:"web" rule:"text 255"`
	Address        *string             `soap:"address" rule:"lines 255"`
	Postcode       *string             `soap:"postcode" rule:"text 32"`
	City           *string             `soap:"city" rule:"text 128"`
	State          *string             `soap:"state" rule:"text 128"`
	Country        *string             `soap:"country" rule:"text 64"`
	Timezone       *string             `soap:"timezone" rule:"timezone"`
	Language       *string             `soap:"language" rule:"text 32"`
	VATNumber      *string             `soap:"vatNumber" rule:"text 64"`
	BankAccount    *string             `soap:"bankAccount" rule:"lines 128"`
	BillingEmail   *string             `soap:"billingEmail" rule:"email"`
	BillingAddress *string             `soap:"billingAddress" rule:"lines 255"`
	Properties     *[]CustomerProperty `soap:"properties"`
}

// A CustomerProperty is a setting of a customer, such as "sip_credit", which
// limits how many accounts there may be.
type CustomerProperty struct {
	Name       string  `soap:"name" rule:"text 64"`
	Category   *string `soap:"category" rule:"text 64"`
	Value      string  `soap:"value" rule:"lines 1024"`
	Permission *string `soap:"permission" rule:"text 32"`
}

// Credits are the properties that limit how many records a party may have.
var Credits = []string{"sip_credit", "sip_alias_credit", "enum_range_credit", "enum_number_credit", "dns_zone_credit", "email_credit"}

// Clean checks a customer. Amounts have four decimals.
func (c *CustomerAccount) Clean() error {
	c.Password = given(c.Password)
	if c.Password != nil && (len(*c.Password) > maxPassword || text("", *c.Password, maxPassword) != nil) {
		return invalid("account.password", "is longer than %d bytes, or holds a control character", maxPassword)
	}
	if c.Username != nil {
		*c.Username = strings.TrimSpace(*c.Username)
		if *c.Username == "" || len(*c.Username) > maxName || !madeOf(subscriber.Fold(*c.Username), letters+digits+"._-@+") {
			return invalid("account.username", "is not 1 to %d letters, digits and . _ - @ +", maxName)
		}
	}
	if c.Properties != nil {
		if err := CustomerProperties(*c.Properties); err != nil {
			return err
		}
	}
	return first(fields("account", c), amount("account.balance", c.Balance), amount("account.credit", c.Credit))
}

// maxPassword is how many bytes of a customer's password bcrypt takes.
const maxPassword = 72

func amount(field string, p *float64) error {
	if p == nil {
		return nil
	}
	*p = math.Round(*p*1e4)/1e4 + 0 // no -0
	if math.IsNaN(*p) || math.Abs(*p) >= 1e11 {
		return invalid(field, "is not an amount below 100,000,000,000")
	}
	return nil
}

// CleanNew is Clean for a customer that is to be added, which needs a user name
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

// CustomerProperties checks a list of properties and sorts it by name.
func CustomerProperties(ps []CustomerProperty) error {
	if len(ps) > maxList {
		return invalid("properties", "has more than %d items", maxList)
	}
	for i := range ps {
		p := &ps[i]
		if err := fields("properties", p); err != nil {
			return err
		}
		if n, err := strconv.Atoi(p.Value); slices.Contains(Credits, p.Name) && p.Value != "" && (err != nil || n < 0 || n > maxNumber) {
			return invalid("properties", "has a %s that is no number of records", p.Name)
		}
	}
	slices.SortFunc(ps, func(a, b CustomerProperty) int { return cmp.Compare(a.Name, b.Name) })
	for i := range ps {
		if ps[i].Name == "" || i > 0 && ps[i].Name == ps[i-1].Name {
			return invalid("properties", "has one without a name, or a name twice")
		}
	}
	return nil
}
