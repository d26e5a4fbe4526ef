package store

import (
	"database/sql"
	"errors"
	"math"

	"thor/provisioning/login"
	"thor/provisioning/ngnpro"
)

// A customerField is a column of a customer that everybody may change who sees
// the customer.
type customerField struct {
	column, name string
	most         int
	at           func(*ngnpro.CustomerAccount) **string
}

// customerFields are in the order of customerColumns.
var customerFields = []customerField{
	{"username", "username", maxName, func(c *ngnpro.CustomerAccount) **string { return &c.Username }},
	{"company_code", "companyCode", maxName, func(c *ngnpro.CustomerAccount) **string { return &c.CompanyCode }},
	{"first_name", "firstName", maxName, func(c *ngnpro.CustomerAccount) **string { return &c.FirstName }},
	{"last_name", "lastName", maxName, func(c *ngnpro.CustomerAccount) **string { return &c.LastName }},
	{"organization", "organization", maxLabel, func(c *ngnpro.CustomerAccount) **string { return &c.Organization }},
	{"tel", "tel", maxName, func(c *ngnpro.CustomerAccount) **string { return &c.Tel }},
	{"fax", "fax", maxName, func(c *ngnpro.CustomerAccount) **string { return &c.Fax }},
	{"sip", "sip", maxURI, func(c *ngnpro.CustomerAccount) **string { return &c.SIP }},
	{"enum", "enum", maxName, func(c *ngnpro.CustomerAccount) **string { return &c.Enum }},
	{"mobile", "mobile", maxName, func(c *ngnpro.CustomerAccount) **string { return &c.Mobile }},
	{"email", "email", maxURI, func(c *ngnpro.CustomerAccount) **string { return &c.Email }},
	{"web", "web", maxURI, func(c *ngnpro.CustomerAccount) **string { return &c.Web }},
	{"address", "address", maxURI, func(c *ngnpro.CustomerAccount) **string { return &c.Address }},
	{"postcode", "postcode", 32, func(c *ngnpro.CustomerAccount) **string { return &c.Postcode }},
	{"city", "city", maxLabel, func(c *ngnpro.CustomerAccount) **string { return &c.City }},
	{"state", "state", maxLabel, func(c *ngnpro.CustomerAccount) **string { return &c.State }},
	{"country", "country", maxName, func(c *ngnpro.CustomerAccount) **string { return &c.Country }},
	{"timezone", "timezone", maxName, func(c *ngnpro.CustomerAccount) **string { return &c.Timezone }},
	{"language", "language", 32, func(c *ngnpro.CustomerAccount) **string { return &c.Language }},
	{"vat_number", "vatNumber", maxName, func(c *ngnpro.CustomerAccount) **string { return &c.VATNumber }},
	{"bank_account", "bankAccount", maxLabel, func(c *ngnpro.CustomerAccount) **string { return &c.BankAccount }},
	{"billing_email", "billingEmail", maxURI, func(c *ngnpro.CustomerAccount) **string { return &c.BillingEmail }},
	{"billing_address", "billingAddress", maxURI, func(c *ngnpro.CustomerAccount) **string { return &c.BillingAddress }},
}

const (
	customerColumns = "c.id, c.reseller_id, c.impersonate, c.reseller_active, c.balance, c.credit, c.username, c.company_code, c.first_name, c.last_name," +
		" c.organization, c.tel, c.fax, c.sip, c.enum, c.mobile, c.email, c.web, c.address, c.postcode, c.city, c.state, c.country, c.timezone," +
		" c.language, c.vat_number, c.bank_account, c.billing_email, c.billing_address"
	customerByID   = "SELECT " + customerColumns + " FROM customers c WHERE c.id = ?"
	customerByName = "SELECT " + customerColumns + ", c.password_hash FROM customers c WHERE c.username = ?"
)

func scanCustomer(scan func(...any) error, more ...any) (*ngnpro.CustomerAccount, error) {
	c := &ngnpro.CustomerAccount{
		ID: new(int), Reseller: new(int), Impersonate: new(int), ResellerActive: new(bool), Balance: new(float64), Credit: new(float64),
	}
	dest := []any{c.ID, c.Reseller, c.Impersonate, c.ResellerActive, c.Balance, c.Credit}
	for _, f := range customerFields {
		p := new(string)
		*f.at(c) = p
		dest = append(dest, p)
	}
	return c, scan(append(dest, more...)...)
}

// login finds a customer by user name, with the hash of the password.
func (t *tx) login(username string) (c *ngnpro.CustomerAccount, hash string, err error) {
	c, err = scanCustomer(t.q.QueryRowContext(t.ctx, customerByName, username).Scan, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		err = ngnpro.ErrCustomerNotFound
	}
	return c, hash, err
}

// customer reads a customer that v sees.
func (t *tx) customer(v ngnpro.Viewer, id int, locked bool) (*ngnpro.CustomerAccount, error) {
	query := customerByID
	if locked {
		query = customerByID + " FOR UPDATE"
	}
	c, err := scanCustomer(t.q.QueryRowContext(t.ctx, query, id).Scan)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !v.Sees(*c.ID, *c.Reseller) {
		return nil, ngnpro.ErrCustomerNotFound.With("there is no customer %d", id)
	}
	return c, err
}

func checkCustomer(c *ngnpro.CustomerAccount) error {
	var k check
	for _, f := range customerFields {
		k.opt(f.name, *f.at(c), f.most)
	}
	if c.Username != nil {
		k.word("username", *c.Username, maxName)
	}
	if p := or(c.Password, ""); len(p) > login.MaxPassword {
		k.fail("password is longer than %d bytes", login.MaxPassword)
	}
	k.opt("password", c.Password, login.MaxPassword)
	k.number("id", c.ID, 0, maxNumber)
	k.number("reseller", c.Reseller, 0, maxNumber)
	k.number("impersonate", c.Impersonate, 0, maxNumber)
	for _, x := range []*float64{c.Balance, c.Credit} {
		if n := or(x, 0); math.IsNaN(n) || math.Abs(n) > 1e11 {
			k.fail("balance and credit are amounts below 100,000,000,000")
		}
	}
	return k.err
}
