package store

import (
	"database/sql"
	"strconv"
	"strings"

	"thor/provisioning/ngnpro"
)

// settings are the properties of a party that decide about new records.
type settings struct {
	party  party
	values map[settingKey]string
}

type settingKey struct {
	customer int
	name     string
}

const keepClearProperty = "store_clear_text_passwords"

func (t *tx) settings(p party) (*settings, error) {
	s := &settings{party: p, values: make(map[settingKey]string)}
	if p == (party{}) {
		return s, nil
	}
	const q = "SELECT customer_id, name, value FROM customer_properties WHERE customer_id IN (?, ?)"
	return s, t.rows(q, []any{p.customer, p.reseller}, func(r *sql.Rows) error {
		var k settingKey
		var v string
		err := r.Scan(&k.customer, &k.name, &v)
		s.values[k] = v
		return err
	})
}

// keepsClear says whether passwords are kept in clear.
func (s *settings) keepsClear(c *Config) bool {
	switch strings.ToLower(s.values[settingKey{s.party.reseller, keepClearProperty}]) {
	case "0", "false", "no", "off":
		return false
	case "1", "true", "yes", "on":
		return true
	}
	return !c.ForgetPasswords
}

// credit checks that one more record may be added. The property limits how many
// a customer, and a reseller with all its customers, may have. Count is a
// constant that ends before its condition.
func (t *tx) credit(s *settings, name, count string) error {
	for _, x := range []struct {
		party     int
		condition string
	}{{s.party.customer, " customer_id = ?"}, {s.party.reseller, " reseller_id = ?"}} {
		limit, err := strconv.Atoi(s.values[settingKey{x.party, name}])
		if x.party == 0 || err != nil {
			continue
		}
		var locked, n int
		// Other transactions that add records for this party wait here.
		if _, err := t.row("SELECT id FROM customers WHERE id = ? FOR UPDATE", []any{x.party}, []any{&locked}); err != nil {
			return err
		}
		if _, err := t.row(count+x.condition, []any{x.party}, []any{&n}); err != nil {
			return err
		}
		if n >= limit {
			return ngnpro.ErrLimit.With("%s of customer %d is %d, and all of it is used", name, x.party, limit)
		}
	}
	return nil
}
