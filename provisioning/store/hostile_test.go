package store_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"thor/provisioning/ngnpro"
)

// hostile are values that a careless statement would not survive.
var hostile = map[string]string{
	"quotes": `'";--\' OR '1'='1`, "comment": "a/*b*/#c", "wildcards": `%_\`, "placeholder": "? :a @b", "four bytes": "𝄞🙂", "NUL": "a\x00b", "not UTF-8": "a\xff\xfe",
	"controls": "a\r\n\t\x1ab", "long": strings.Repeat("é", 64), "too long": strings.Repeat("x", 70000), "blanks": "  a  ",
}

// A record is one kind of record with how to save and read one.
type record struct {
	fresh func() any      // valid, with all fields set
	add   func(any) error // a new record, with the fields that name it as they are
	read  func(any) (any, error)
}

// walk visits the strings of a record that a client may set.
func walk(v reflect.Value, path string, visit func(path string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walk(v.Elem(), path, visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if strings.HasSuffix(v.Type().Field(i).Tag.Get("soap"), ",ro") {
				continue
			}
			walk(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), path+"[]", visit)
		}
	case reflect.String:
		visit(path, v)
	}
}

// fill sets every nil pointer to a value.
func fill[T any](x *T) *T {
	var each func(v reflect.Value)
	each = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			each(v.Elem())
		case reflect.Struct:
			for i := range v.NumField() {
				each(v.Field(i))
			}
		}
	}
	each(reflect.ValueOf(x).Elem())
	return x
}

func (w *world) records() map[string]record {
	one := func(n int, err error) error {
		if err == nil && n != 1 {
			return errors.New("not found")
		}
		return err
	}
	return map[string]record{
		"domain": {
			fresh: func() any { return fill(&ngnpro.SipDomain{Domain: "h.example"}) },
			add:   func(x any) error { return w.Domains.Add(w.ctx, admin, x.(*ngnpro.SipDomain)) },
			read: func(x any) (any, error) {
				q := &ngnpro.SipDomainQuery{}
				q.Filter.Domain = x.(*ngnpro.SipDomain).Domain
				n, ds, err := w.Domains.Find(w.ctx, admin, q)
				if err := one(n, err); err != nil {
					return nil, err
				}
				return &ds[0], nil
			},
		},
		"account": {
			fresh: func() any {
				a := fill(&ngnpro.SipAccount{ID: id("h@d.example"), Groups: &[]string{"g"}, ACL: &[]ngnpro.ACLEntry{{IP: "192.0.2.1", Mask: 32, Tag: new("t")}}, Properties: &[]ngnpro.Property{{Name: "n", Value: "v"}}})
				a.Password, a.Timeout = new("p"), new(20)
				return a
			},
			add:  func(x any) error { _, _, err := w.Accounts.Add(w.ctx, admin, x.(*ngnpro.SipAccount)); return err },
			read: func(x any) (any, error) { return w.Accounts.Get(w.ctx, admin, x.(*ngnpro.SipAccount).ID) },
		},
		"alias": {
			fresh: func() any { return fill(&ngnpro.SipAlias{ID: id("ha@d.example"), Target: id("target@d.example")}) },
			add:   func(x any) error { _, err := w.Aliases.Add(w.ctx, admin, x.(*ngnpro.SipAlias)); return err },
			read:  func(x any) (any, error) { return w.Aliases.Get(w.ctx, admin, x.(*ngnpro.SipAlias).ID) },
		},
		"phonebook entry": {
			fresh: func() any { return &ngnpro.PhonebookEntry{URI: "sip:x@y", Name: "n", Group: "g"} },
			add: func(x any) error {
				return only(w.Phonebook.Add(w.ctx, admin, id("target@d.example"), x.(*ngnpro.PhonebookEntry)))
			},
			read: func(x any) (any, error) {
				es, err := w.Phonebook.Find(w.ctx, admin, id("target@d.example"), nil, nil)
				for _, e := range es {
					if e.URI == x.(*ngnpro.PhonebookEntry).URI {
						return &e, err
					}
				}
				return nil, errors.Join(err, errors.New("not found"))
			},
		},
		"peer": {
			fresh: func() any { return fill(&ngnpro.TrustedPeer{IP: "192.0.2.77"}) },
			add:   func(x any) error { return w.Peers.Add(w.ctx, admin, x.(*ngnpro.TrustedPeer)) },
			read: func(x any) (any, error) {
				n, ps, err := w.Peers.Find(w.ctx, admin, &ngnpro.TrustedPeerQuery{})
				if err := one(n, err); err != nil {
					return nil, err
				}
				return &ps[0], nil
			},
		},
		"voicemail": {
			fresh: func() any {
				v := fill(&ngnpro.VoicemailAccount{SipID: id("target@d.example")})
				v.Password = new("12")
				return v
			},
			add:  func(x any) error { _, err := w.Mailboxes.Add(w.ctx, admin, x.(*ngnpro.VoicemailAccount)); return err },
			read: func(x any) (any, error) { return w.Mailboxes.Get(w.ctx, admin, x.(*ngnpro.VoicemailAccount).SipID) },
		},
		"range": {
			fresh: func() any {
				r := fill(&ngnpro.EnumRange{ID: ngnpro.EnumRangeID{Prefix: "99", TLD: "e164.arpa"}, Nameservers: &[]string{"ns"}})
				return r
			},
			add: func(x any) error { return w.Ranges.Add(w.ctx, admin, x.(*ngnpro.EnumRange)) },
			read: func(x any) (any, error) {
				q := &ngnpro.EnumRangeQuery{}
				q.Filter.Prefix, q.Filter.TLD = x.(*ngnpro.EnumRange).ID.Prefix, x.(*ngnpro.EnumRange).ID.TLD
				n, rs, err := w.Ranges.Find(w.ctx, admin, q)
				if err := one(n, err); err != nil {
					return nil, err
				}
				return &rs[0], nil
			},
		},
		"number": {
			fresh: func() any {
				return fill(&ngnpro.EnumNumber{ID: ngnpro.EnumID{Number: "3120", TLD: "e164.arpa"}, Mappings: &[]ngnpro.EnumMapping{{Type: "sip", MapTo: "x"}}})
			},
			add:  func(x any) error { return w.Numbers.Add(w.ctx, admin, x.(*ngnpro.EnumNumber)) },
			read: func(x any) (any, error) { return w.Numbers.Get(w.ctx, admin, x.(*ngnpro.EnumNumber).ID) },
		},
		"customer": {
			fresh: func() any {
				c := fill(&ngnpro.CustomerAccount{Properties: &[]ngnpro.CustomerProperty{{Name: "n", Value: "v", Category: new("c"), Permission: new("p")}}})
				c.ID, c.Username, c.Password, c.Reseller, c.Impersonate = &w.someone, new("h"), nil, nil, nil // hashing would take most of the time
				return c
			},
			add:  func(x any) error { return w.Customers.Update(w.ctx, admin, x.(*ngnpro.CustomerAccount)) },
			read: func(x any) (any, error) { return w.Customers.Get(w.ctx, admin, *x.(*ngnpro.CustomerAccount).ID) },
		},
	}
}

// collect lists the strings of x.
func collect(x any) map[string]string {
	m := make(map[string]string)
	walk(reflect.ValueOf(x), "", func(path string, v reflect.Value) { m[path] = v.String() })
	return m
}

// Every string of every record is either kept as it was cleaned or refused.
func TestHostileStringsAreKeptOrRefused(t *testing.T) {
	w := newWorld(t)
	setup := func() {
		w.domain("d.example")
		w.account("target@d.example")
		w.ok(w.Ranges.Add(w.ctx, admin, &ngnpro.EnumRange{ID: prefix("31")}))
	}
	db := w.connect()
	reset := func() {
		for _, table := range []string{
			"sip_accounts_meta", "sip_aliases", "sip_domains", "domain", "subscriber", "grp", "dbaliases", "sip_revisions", "sip_phonebook", "sip_trusted",
			"address", "trusted", "voicemail_accounts", "enum_numbers", "enum_ranges", "customer_properties",
		} {
			_, err := db.Exec("DELETE FROM " + table)
			w.ok(err)
		}
		setup()
	}
	setup()
	w.someone = w.customer("h", 0)
	kept, refused := 0, 0
	for name, r := range w.records() {
		for path := range collect(r.fresh()) {
			for what, bad := range hostile {
				x := r.fresh()
				walk(reflect.ValueOf(x), "", func(p string, v reflect.Value) {
					if p == path {
						v.SetString(bad)
					}
				})
				err := x.(interface{ Clean() error }).Clean()
				given := collect(x)[path]
				if err == nil {
					err = r.add(x)
				}
				switch {
				case errors.Is(err, ngnpro.ErrInvalid):
					refused++
					if strings.Contains(err.Error(), bad) && len(bad) > 4 {
						t.Errorf("%s%s %s: the fault repeats the value: %v", name, path, what, err)
					}
					continue
				case errors.Is(err, ngnpro.ErrDomainNotFound), errors.Is(err, ngnpro.ErrAccountNotFound), errors.Is(err, ngnpro.ErrForbidden),
					errors.Is(err, ngnpro.ErrRangeNotFound):
					refused++
					continue
				case err != nil:
					t.Errorf("%s%s %s: %v", name, path, what, err)
					continue
				}
				if kept++; kept%20 == 0 {
					w.check()
				}
				y, err := r.read(x)
				if err != nil {
					t.Errorf("%s%s %s: saved and not to be read: %v", name, path, what, err)
				} else if got := collect(y)[path]; got != given && !strings.HasSuffix(path, ".Password") {
					t.Errorf("%s%s %s: became %.80q", name, path, what, got)
				}
				reset()
			}
		}
	}
	t.Logf("%d kept, %d refused", kept, refused)
	if kept == 0 || refused == 0 {
		t.Error("one of the two never happened")
	}
}
