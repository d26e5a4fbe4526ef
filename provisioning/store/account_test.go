package store_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
)

func md5hex(s string) string {
	d := md5.Sum([]byte(s))
	return hex.EncodeToString(d[:])
}

func TestAccountLivesAndDies(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.Accounts.Add(w.ctx, admin, &ngnpro.SipAccount{ID: id("alice@example.com"), Password: new("secret")})
	is(t, "no domain", err, ngnpro.ErrDomainNotFound)
	w.domain("example.com")
	is(t, "domain twice", w.Domains.Add(w.ctx, admin, &ngnpro.SipDomain{Domain: "example.com"}), ngnpro.ErrDomainExists)
	got, ns, err := w.Accounts.Add(w.ctx, admin, clean(&ngnpro.SipAccount{
		ID: id("Alice@EXAMPLE.com"), Password: new("secret"), FirstName: new("Alice"), LastName: new("O'Brien 𝄞"), Groups: &[]string{"free-pstn", "", "free-pstn", "anonymous"},
		ACL: &[]ngnpro.ACLEntry{{IP: "192.0.2.7", Mask: 24}, {IP: "2001:db8::1", Mask: 64, Tag: new("x")}}, Properties: &[]ngnpro.Property{{Name: "a", Value: "b"}},
		Quota: new(30), Prepaid: new(true), Timezone: new("Europe/Amsterdam"), Timeout: new(20),
	}))
	w.ok(err)
	if got != id("alice@example.com") || len(ns) != 1 || ns[0].Key != "alice@example.com" || ns[0].Revision == 0 {
		t.Errorf("added %v, %v", got, ns)
	}
	_, _, err = w.Accounts.Add(w.ctx, admin, &ngnpro.SipAccount{ID: id("alice@example.com"), Password: new("secret")})
	is(t, "account twice", err, ngnpro.ErrAccountExists)
	a := w.get("ALICE@example.com")
	if *a.FirstName != "Alice" || *a.LastName != "O'Brien 𝄞" || !slices.Equal(*a.Groups, []string{"anonymous", "free-pstn"}) || *a.Password != "secret" ||
		len(*a.ACL) != 2 || *(*a.ACL)[1].Tag != "x" || (*a.Properties)[0].Value != "b" || *a.Quota != 30 || !*a.Prepaid || *a.Timeout != 20 || a.CreateDate == "" {
		t.Errorf("read %+v", a)
	}
	old := ns[0].Revision
	ns, err = w.Accounts.Delete(w.ctx, admin, id("alice@example.com"))
	w.ok(err)
	if len(ns) != 1 || !ns[0].Deleted || ns[0].Revision <= old {
		t.Errorf("deleted: %v after %d", ns, old)
	}
	_, err = w.Accounts.Get(w.ctx, admin, id("alice@example.com"))
	is(t, "gone", err, ngnpro.ErrAccountNotFound)
	x, err := w.Pushes.Subscriber(w.ctx, "alice@example.com")
	w.ok(err)
	if !x.Deleted || x.Revision != ns[0].Revision || x.HA1 != "" {
		t.Errorf("subscriber after deletion %+v", x)
	}
	w.account("alice@example.com")
	if y, err := w.Pushes.Subscriber(w.ctx, "alice@example.com"); err != nil || y.Deleted || y.Revision <= x.Revision || y.HA1 != md5hex("alice:example.com:secret") {
		t.Errorf("subscriber again %+v, %v", y, err)
	}
	w.check()
}

func TestPasswordsAreKeptInTheFormThatIsAllowed(t *testing.T) {
	forget := func(c *store.Config) { c.ForgetPasswords = true }
	for name, c := range map[string]struct {
		change []func(*store.Config)
		clear  bool
	}{"clear": {nil, true}, "digests only": {[]func(*store.Config){forget}, false}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.change...)
			w.domain("d.example")
			w.account("u@d.example")
			ha1, ha1b := md5hex("u:d.example:secret"), md5hex("u@d.example:d.example:secret")
			if p := w.get("u@d.example").Password; (p != nil) != c.clear {
				t.Errorf("clear password kept: %v", p != nil)
			}
			if n := strings.Count(w.rows("SELECT * FROM subscriber; SELECT * FROM sip_accounts"), "secret"); n != map[bool]int{true: 2}[c.clear] {
				t.Errorf("the password is in %d places", n)
			}
			want := func(what, ha1, ha1b string) {
				t.Helper()
				x, err := w.Pushes.Subscriber(w.ctx, "u@d.example")
				w.ok(err)
				if x.HA1 != ha1 || x.HA1B != ha1b {
					t.Errorf("%s: %s %s, want %s %s", what, x.HA1, x.HA1B, ha1, ha1b)
				}
				w.check()
			}
			want("added", ha1, ha1b)
			change := func(p *string) {
				t.Helper()
				_, err := w.Accounts.Update(w.ctx, admin, clean(&ngnpro.SipAccount{ID: id("u@d.example"), Password: p, FirstName: new("U")}))
				w.ok(err)
			}
			change(nil)
			want("absent", ha1, ha1b)
			change(new(""))
			want("empty", ha1, ha1b)
			a, b := md5hex("1"), md5hex("2")
			change(new(strings.ToUpper(a) + ":" + b))
			want("digests", a, b)
			if w.get("u@d.example").Password != nil {
				t.Error("the clear password outlived digests")
			}
		})
	}
}

func TestAllocatedUserNames(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("1002@d.example")
	var names []string
	for range 3 {
		got, _, err := w.Accounts.Add(w.ctx, admin, &ngnpro.SipAccount{ID: ngnpro.SipID{Username: "<autoincrement>", Domain: "d.example"}, Password: new("secret")})
		w.ok(err)
		names = append(names, got.Username)
	}
	if !slices.Equal(names, []string{"1001", "1003", "1004"}) {
		t.Errorf("allocated %v", names)
	}
	if x, err := w.Pushes.Subscriber(w.ctx, "1003@d.example"); err != nil || x.HA1 != md5hex("1003:d.example:secret") {
		t.Errorf("%+v, %v", x, err)
	}
	w.check()
}

func TestUserNamesAreAllocatedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	const clients, each = 16, 8
	var mu sync.Mutex
	names := make(map[string]bool)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				got, _, err := w.Accounts.Add(w.ctx, admin, &ngnpro.SipAccount{ID: ngnpro.SipID{Username: "<autoincrement>", Domain: "d.example"}, Password: new("secret")})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				names[got.Username] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(names) != clients*each {
		t.Errorf("%d names for %d accounts", len(names), clients*each)
	}
	w.check()
}

// What a node is sent of an account is bounded.
func TestAccountsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	w.account("b@d.example")
	for i := range 500 {
		w.alias(fmt.Sprintf("alias%d@d.example", i), "a@d.example")
	}
	w.alias("one@d.example", "b@d.example")
	_, err := w.Aliases.Add(w.ctx, admin, &ngnpro.SipAlias{ID: id("more@d.example"), Target: id("a@d.example")})
	is(t, "too many aliases", err, ngnpro.ErrLimit)
	_, err = w.Aliases.Update(w.ctx, admin, &ngnpro.SipAlias{ID: id("one@d.example"), Target: id("a@d.example")})
	is(t, "one more leads there", err, ngnpro.ErrLimit)
	_, err = w.Aliases.Update(w.ctx, admin, &ngnpro.SipAlias{ID: id("alias1@d.example"), Target: id("a@d.example"), Owner: new(7)})
	w.ok(err)
	var props []ngnpro.Property
	for i := range 100 {
		props = append(props, ngnpro.Property{Name: fmt.Sprint("p", i), Value: strings.Repeat("é", 1000)})
	}
	_, err = w.Accounts.Update(w.ctx, admin, &ngnpro.SipAccount{ID: id("b@d.example"), Properties: &props})
	is(t, "large properties", err, ngnpro.ErrLimit)
	w.get("b@d.example")
	w.check()
}

func TestAliasesAndAccountsShareNames(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	w.account("b@d.example")
	w.alias("x@d.example", "a@d.example")
	_, err := w.Aliases.Add(w.ctx, admin, &ngnpro.SipAlias{ID: id("x@d.example"), Target: id("b@d.example")})
	is(t, "alias twice", err, ngnpro.ErrAliasExists)
	_, err = w.Aliases.Add(w.ctx, admin, &ngnpro.SipAlias{ID: id("b@d.example"), Target: id("a@d.example")})
	is(t, "alias shadows an account", err, ngnpro.ErrAccountExists)
	_, _, err = w.Accounts.Add(w.ctx, admin, &ngnpro.SipAccount{ID: id("x@d.example"), Password: new("p")})
	is(t, "account shadows an alias", err, ngnpro.ErrAliasExists)
	_, err = w.Aliases.Add(w.ctx, admin, &ngnpro.SipAlias{ID: id("y@d.example"), Target: id("x@d.example")})
	is(t, "alias of an alias", err, ngnpro.ErrAccountNotFound)
	_, err = w.Aliases.Add(w.ctx, admin, &ngnpro.SipAlias{ID: id("y@elsewhere.example"), Target: id("a@d.example")})
	is(t, "alias in another's domain", err, ngnpro.ErrDomainNotFound)

	ns, err := w.Aliases.Update(w.ctx, admin, &ngnpro.SipAlias{ID: id("x@d.example"), Target: id("b@d.example"), Owner: new(7)})
	w.ok(err)
	if len(ns) != 3 {
		t.Errorf("leading elsewhere concerns %v", ns)
	}
	if x, err := w.Pushes.Subscriber(w.ctx, "x@d.example"); err != nil || x.AliasOf != "b@d.example" || x.Deleted || x.Username != "" {
		t.Errorf("alias %+v, %v", x, err)
	}
	if x, err := w.Pushes.Subscriber(w.ctx, "b@d.example"); err != nil || !slices.Equal(x.Aliases, []string{"x@d.example"}) {
		t.Errorf("target %+v, %v", x, err)
	}
	if x, err := w.Pushes.Subscriber(w.ctx, "a@d.example"); err != nil || len(x.Aliases) != 0 {
		t.Errorf("target before %+v, %v", x, err)
	}
	is(t, "domain in use", w.Domains.Delete(w.ctx, admin, "d.example"), ngnpro.ErrDomainNotEmpty)
	w.check()
	ns, err = w.Accounts.Delete(w.ctx, admin, id("b@d.example"))
	w.ok(err)
	if len(ns) != 2 || !ns[0].Deleted || !ns[1].Deleted {
		t.Errorf("an account and its alias: %v", ns)
	}
	_, err = w.Aliases.Get(w.ctx, admin, id("x@d.example"))
	is(t, "alias of a deleted account", err, ngnpro.ErrAliasNotFound)
	w.alias("b@d.example", "a@d.example")
	_, err = w.Aliases.Delete(w.ctx, admin, id("b@d.example"))
	w.ok(err)
	w.check()
	_, err = w.Accounts.Delete(w.ctx, admin, id("a@d.example"))
	w.ok(err)
	w.ok(w.Domains.Delete(w.ctx, admin, "d.example"))
	w.check()
}

func TestGroups(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	_, err := w.Accounts.AddToGroup(w.ctx, admin, id("a@d.example"), "quota")
	w.ok(err)
	_, err = w.Accounts.AddToGroup(w.ctx, admin, id("a@d.example"), "quota")
	is(t, "twice", err, ngnpro.ErrInGroup)
	_, err = w.Accounts.AddToGroup(w.ctx, admin, id("a@d.example"), "blocked")
	w.ok(err)
	gs, err := w.Accounts.Groups(w.ctx, admin, id("A@d.example"))
	w.ok(err)
	if !slices.Equal(gs, []string{"blocked", "quota"}) {
		t.Errorf("groups %q", gs)
	}
	w.check()
	_, err = w.Accounts.RemoveFromGroup(w.ctx, admin, id("a@d.example"), "quota")
	w.ok(err)
	_, err = w.Accounts.RemoveFromGroup(w.ctx, admin, id("a@d.example"), "quota")
	is(t, "not in it", err, ngnpro.ErrNotInGroup)
	_, err = w.Accounts.Update(w.ctx, admin, &ngnpro.SipAccount{ID: id("a@d.example"), Groups: &[]string{"blocked", "prepaid"}})
	w.ok(err)
	if got := w.rows("SELECT GROUP_CONCAT(grp ORDER BY grp) FROM grp"); got != "blocked,prepaid" {
		t.Errorf("projected %q", got)
	}
	_, err = w.Accounts.AddToGroup(w.ctx, admin, id("b@d.example"), "quota")
	is(t, "nobody", err, ngnpro.ErrAccountNotFound)
	w.check()
}

// A profile that others spoilt hides its account, and no other one.
func TestOneUnreadableProfile(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(c *store.Config) { c.Log = zerolog.New(&log) })
	w.domain("d.example")
	for _, u := range []string{"a", "b", "c"} {
		w.account(u + "@d.example")
	}
	w.alias("x@d.example", "b@d.example")
	w.sql("UPDATE sip_accounts_data SET profile = '{\"groups\": 7}' WHERE account_id = (SELECT id FROM sip_accounts_meta WHERE username = 'b')")
	_, as, err := w.Accounts.Find(w.ctx, admin, &ngnpro.SipQuery{})
	w.ok(err)
	if len(as) != 2 || as[0].ID.Username != "a" || as[1].ID.Username != "c" {
		t.Errorf("listed: %+v", as)
	}
	_, err = w.Accounts.Get(w.ctx, admin, id("b@d.example"))
	is(t, "unreadable", err, ngnpro.ErrUnavailable)
	if err == nil || !strings.Contains(err.Error(), "b@d.example") {
		t.Errorf("which one? %v", err)
	}
	_, err = w.Accounts.Delete(w.ctx, customer(99), id("b@d.example"))
	is(t, "by somebody else", err, ngnpro.ErrAccountNotFound)
	_, err = w.Accounts.Delete(w.ctx, admin, id("b@d.example"))
	w.ok(err)
	w.check()
	if !strings.Contains(log.String(), "b@d.example") {
		t.Errorf("log: %s", log.String())
	}
}
