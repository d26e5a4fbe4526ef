package provisioning_test

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"thor/overlay/subscriber"
	"thor/provisioning"
	"thor/provisioning/ngnpro"
	"thor/subjects"
)

// table is one kind of record by its key, with who it belongs to.
type table[T any] struct {
	rows           map[string]T
	missing, taken *ngnpro.Fault
}

func (t *table[T]) add(key string, v T) error {
	if _, ok := t.rows[key]; ok {
		return t.taken
	}
	if t.rows == nil {
		t.rows = make(map[string]T)
	}
	t.rows[key] = v
	return nil
}

func (t *table[T]) update(key string, v T) error {
	if _, ok := t.rows[key]; !ok {
		return t.missing
	}
	t.rows[key] = v
	return nil
}

func (t *table[T]) remove(key string) error {
	if _, ok := t.rows[key]; !ok {
		return t.missing
	}
	delete(t.rows, key)
	return nil
}

func (t *table[T]) get(key string) (*T, error) {
	v, ok := t.rows[key]
	if !ok {
		return nil, t.missing
	}
	return &v, nil
}

func (t *table[T]) find(r *ngnpro.Range, match func(key string, v *T) bool) (int, []T) {
	var out []T
	for _, k := range slices.Sorted(maps.Keys(t.rows)) {
		if v := t.rows[k]; match(k, &v) {
			out = append(out, v)
		}
	}
	total := len(out)
	if r != nil {
		out = out[min(r.Start, len(out)):]
		if r.Count > 0 {
			out = out[:min(r.Count, len(out))]
		}
	}
	return total, out
}

// like is SQL's, for patterns that begin or end with %.
func like(pattern, s string) bool {
	switch {
	case pattern == "" || pattern == "%":
		return true
	case strings.HasSuffix(pattern, "%"):
		return strings.HasPrefix(s, strings.TrimSuffix(pattern, "%"))
	}
	return s == pattern
}

// fakeStore keeps all in memory: enough to see what reaches a store, and what
// comes back. Whether a store keeps its rules is tested with the real one.
type fakeStore struct {
	mu         sync.Mutex
	domains    table[ngnpro.SipDomain]
	accounts   table[ngnpro.SipAccount]
	aliases    table[ngnpro.SipAlias]
	peers      table[ngnpro.TrustedPeer]
	boxes      table[ngnpro.VoicemailAccount]
	ranges     table[ngnpro.EnumRange]
	numbers    table[ngnpro.EnumNumber]
	customers  table[ngnpro.CustomerAccount]
	phonebook  map[string]*table[ngnpro.PhonebookEntry]
	diversions map[string]ngnpro.CallDiversions
	barring    map[string][]string
	rejects    map[string][]string
	rules      map[string]ngnpro.AcceptRules
	messages   map[string][]byte
	properties map[int][]ngnpro.CustomerProperty
	last       int
	logins     int // how often credentials were asked for
	hashes     map[string]string
	fail       error // of everything, when set
}

// The kinds of its records.
type (
	fakeDomains   struct{ *fakeStore }
	fakeAccounts  struct{ *fakeStore }
	fakeAliases   struct{ *fakeStore }
	fakeScreening struct{ *fakeStore }
	fakePhonebook struct{ *fakeStore }
	fakePeers     struct{ *fakeStore }
	fakeMailboxes struct{ *fakeStore }
	fakeRanges    struct{ *fakeStore }
	fakeNumbers   struct{ *fakeStore }
	fakeCustomers struct{ *fakeStore }
	fakePushes    struct{ *fakeStore }
)

func (f *fakeStore) records() provisioning.Records {
	return provisioning.Records{
		Domains: fakeDomains{f}, Accounts: fakeAccounts{f}, Aliases: fakeAliases{f}, Screening: fakeScreening{f}, Phonebook: fakePhonebook{f},
		Peers: fakePeers{f}, Mailboxes: fakeMailboxes{f}, Ranges: fakeRanges{f}, Numbers: fakeNumbers{f}, Customers: fakeCustomers{f}, Pushes: fakePushes{f},
	}
}

func newFakeStore() *fakeStore {
	f := &fakeStore{
		phonebook: make(map[string]*table[ngnpro.PhonebookEntry]), diversions: make(map[string]ngnpro.CallDiversions),
		barring: make(map[string][]string), rejects: make(map[string][]string), rules: make(map[string]ngnpro.AcceptRules),
		messages: make(map[string][]byte), properties: make(map[int][]ngnpro.CustomerProperty), last: 100,
	}
	f.domains.missing, f.domains.taken = ngnpro.ErrDomainNotFound, ngnpro.ErrDomainExists
	f.accounts.missing, f.accounts.taken = ngnpro.ErrAccountNotFound, ngnpro.ErrAccountExists
	f.aliases.missing, f.aliases.taken = ngnpro.ErrAliasNotFound, ngnpro.ErrAliasExists
	f.peers.missing, f.peers.taken = ngnpro.ErrPeerNotFound, ngnpro.ErrPeerExists
	f.boxes.missing, f.boxes.taken = ngnpro.ErrVoicemailNotFound, ngnpro.ErrVoicemailExists
	f.ranges.missing, f.ranges.taken = ngnpro.ErrRangeNotFound, ngnpro.ErrRangeExists
	f.numbers.missing, f.numbers.taken = ngnpro.ErrNumberNotFound, ngnpro.ErrNumberExists
	f.customers.missing, f.customers.taken = ngnpro.ErrCustomerNotFound, ngnpro.ErrCustomerExists
	return f
}

func ptr[T any](v T) *T { return &v }

func num(p *int) int {
	if p == nil {
		return 0
	}
	return *p
}

func (f *fakeStore) lock() func() { f.mu.Lock(); return f.mu.Unlock }

func notice(id ngnpro.SipID) provisioning.Notices {
	return provisioning.Notices{{V: subjects.Version, Key: id.Key(), Revision: 1}}
}

func (f *fakeStore) sees(v ngnpro.Viewer, domain string) bool {
	d := f.domains.rows[domain]
	return v.Sees(num(d.Customer), num(d.Reseller))
}

func (f fakeDomains) Add(_ context.Context, v ngnpro.Viewer, d *ngnpro.SipDomain) error {
	defer f.lock()()
	if f.fail != nil {
		return f.fail
	}
	if !v.Admin && v.Reseller == 0 {
		return ngnpro.ErrForbidden
	}
	if !v.Admin {
		d.Reseller = ptr(v.Reseller)
	}
	return f.domains.add(d.Domain, *d)
}

func (f fakeDomains) Update(_ context.Context, v ngnpro.Viewer, d *ngnpro.SipDomain) (provisioning.Notices, error) {
	defer f.lock()()
	if !f.sees(v, d.Domain) {
		return nil, ngnpro.ErrDomainNotFound
	}
	return nil, f.domains.update(d.Domain, *d)
}

func (f fakeDomains) Delete(_ context.Context, v ngnpro.Viewer, d string) error {
	defer f.lock()()
	if !f.sees(v, d) {
		return ngnpro.ErrDomainNotFound
	}
	return f.domains.remove(d)
}

func (f fakeDomains) Find(_ context.Context, v ngnpro.Viewer, q *ngnpro.SipDomainQuery) (int, []ngnpro.SipDomain, error) {
	defer f.lock()()
	n, ds := f.domains.find(q.Range, func(k string, _ *ngnpro.SipDomain) bool { return f.sees(v, k) && like(q.Filter.Domain, k) })
	return n, ds, f.fail
}

func (f fakeDomains) CountAccounts(context.Context) (map[string]int, error) {
	defer f.lock()()
	n := make(map[string]int)
	for d := range f.domains.rows {
		n[d] = 0
	}
	for _, a := range f.accounts.rows {
		n[a.ID.Domain]++
	}
	return n, f.fail
}

func (f fakeAccounts) Add(_ context.Context, v ngnpro.Viewer, a *ngnpro.SipAccount) (ngnpro.SipID, provisioning.Notices, error) {
	defer f.lock()()
	if f.fail != nil {
		return ngnpro.SipID{}, nil, f.fail
	}
	if !f.sees(v, a.ID.Domain) || f.domains.rows[a.ID.Domain].Domain == "" {
		return ngnpro.SipID{}, nil, ngnpro.ErrDomainNotFound
	}
	if a.ID.Username == ngnpro.AutoIncrement {
		f.last++
		a.ID.Username = strconv.Itoa(f.last)
	}
	a.CreateDate, a.ChangeDate = "2026-01-01 00:00:00", "2026-01-01 00:00:00"
	return a.ID, notice(a.ID), f.accounts.add(a.ID.Key(), *a)
}

// account finds the account of id that v sees.
func (f *fakeStore) account(v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.SipAccount, error) {
	if f.fail != nil {
		return nil, f.fail
	}
	if !f.sees(v, id.Domain) {
		return nil, ngnpro.ErrAccountNotFound
	}
	return f.accounts.get(id.Key())
}

func (f fakeAccounts) Update(_ context.Context, v ngnpro.Viewer, a *ngnpro.SipAccount) (provisioning.Notices, error) {
	defer f.lock()()
	old, err := f.account(v, a.ID)
	if err != nil {
		return nil, err
	}
	if a.Password == nil {
		a.Password = old.Password
	}
	a.CreateDate, a.ChangeDate = old.CreateDate, "2026-01-02 00:00:00"
	return notice(a.ID), f.accounts.update(a.ID.Key(), *a)
}

func (f fakeAccounts) Delete(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID) (provisioning.Notices, error) {
	defer f.lock()()
	if _, err := f.account(v, id); err != nil {
		return nil, err
	}
	return notice(id), f.accounts.remove(id.Key())
}

func (f fakeAccounts) Get(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.SipAccount, error) {
	defer f.lock()()
	return f.account(v, id)
}

func (f fakeAccounts) Find(_ context.Context, v ngnpro.Viewer, q *ngnpro.SipQuery) (int, []ngnpro.SipAccount, error) {
	defer f.lock()()
	n, as := f.accounts.find(q.Range, func(_ string, a *ngnpro.SipAccount) bool {
		return f.sees(v, a.ID.Domain) && like(q.Filter.Username, a.ID.Username) && like(q.Filter.Domain, a.ID.Domain)
	})
	return n, as, f.fail
}

func (f *fakeStore) groups(v ngnpro.Viewer, id ngnpro.SipID, change func([]string) ([]string, error)) (provisioning.Notices, error) {
	defer f.lock()()
	a, err := f.account(v, id)
	if err != nil {
		return nil, err
	}
	var gs []string
	if a.Groups != nil {
		gs = *a.Groups
	}
	if gs, err = change(slices.Clone(gs)); err != nil {
		return nil, err
	}
	a.Groups = &gs
	return notice(id), f.accounts.update(id.Key(), *a)
}

func (f fakeAccounts) AddToGroup(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID, g string) (provisioning.Notices, error) {
	return f.groups(v, id, func(gs []string) ([]string, error) {
		if slices.Contains(gs, g) {
			return nil, ngnpro.ErrInGroup
		}
		return append(gs, g), nil
	})
}

func (f fakeAccounts) RemoveFromGroup(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID, g string) (provisioning.Notices, error) {
	return f.groups(v, id, func(gs []string) ([]string, error) {
		if !slices.Contains(gs, g) {
			return nil, ngnpro.ErrNotInGroup
		}
		return slices.DeleteFunc(gs, func(x string) bool { return x == g }), nil
	})
}

func (f fakeAccounts) Groups(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID) (gs []string, err error) {
	_, err = f.groups(v, id, func(x []string) ([]string, error) { gs = x; return x, nil })
	return gs, err
}

func (f fakeAliases) Add(_ context.Context, v ngnpro.Viewer, a *ngnpro.SipAlias) (provisioning.Notices, error) {
	defer f.lock()()
	if _, err := f.account(v, a.Target); err != nil {
		return nil, err
	}
	return notice(a.ID), f.aliases.add(a.ID.Key(), *a)
}

func (f fakeAliases) Update(_ context.Context, _ ngnpro.Viewer, a *ngnpro.SipAlias) (provisioning.Notices, error) {
	defer f.lock()()
	return notice(a.ID), f.aliases.update(a.ID.Key(), *a)
}

func (f fakeAliases) Delete(_ context.Context, _ ngnpro.Viewer, id ngnpro.SipID) (provisioning.Notices, error) {
	defer f.lock()()
	return notice(id), f.aliases.remove(id.Key())
}

func (f fakeAliases) Get(_ context.Context, _ ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.SipAlias, error) {
	defer f.lock()()
	return f.aliases.get(id.Key())
}

func (f fakeAliases) Find(_ context.Context, _ ngnpro.Viewer, q *ngnpro.AliasQuery) (int, []ngnpro.SipAlias, error) {
	defer f.lock()()
	n, as := f.aliases.find(q.Range, func(_ string, a *ngnpro.SipAlias) bool { return like(q.Filter.TargetUsername, a.Target.Username) })
	return n, as, nil
}

// kept sets or gets what belongs to an account.
func kept[T any](f *fakeStore, v ngnpro.Viewer, id ngnpro.SipID, m map[string]T, set *T) (T, provisioning.Notices, error) {
	defer f.lock()()
	if _, err := f.account(v, id); err != nil {
		var zero T
		return zero, nil, err
	}
	if set != nil {
		m[id.Key()] = *set
	}
	return m[id.Key()], notice(id), nil
}

func (f fakeScreening) SetCallDiversions(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID, d *ngnpro.CallDiversions) (provisioning.Notices, error) {
	_, ns, err := kept(f.fakeStore, v, id, f.diversions, d)
	return ns, err
}

func (f fakeScreening) CallDiversions(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.CallDiversions, error) {
	d, _, err := kept(f.fakeStore, v, id, f.diversions, nil)
	return &d, err
}

func (f fakeScreening) SetBarringPrefixes(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID, ps []string) (provisioning.Notices, error) {
	_, ns, err := kept(f.fakeStore, v, id, f.barring, &ps)
	return ns, err
}

func (f fakeScreening) BarringPrefixes(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID) ([]string, error) {
	ps, _, err := kept(f.fakeStore, v, id, f.barring, nil)
	return ps, err
}

func (f fakeScreening) SetRejectMembers(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID, ms []string) (provisioning.Notices, error) {
	_, ns, err := kept(f.fakeStore, v, id, f.rejects, &ms)
	return ns, err
}

func (f fakeScreening) RejectMembers(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID) ([]string, error) {
	ms, _, err := kept(f.fakeStore, v, id, f.rejects, nil)
	return ms, err
}

func (f fakeScreening) SetAcceptRules(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID, r *ngnpro.AcceptRules) (provisioning.Notices, error) {
	_, ns, err := kept(f.fakeStore, v, id, f.rules, r)
	return ns, err
}

func (f fakeScreening) AcceptRules(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.AcceptRules, []string, error) {
	r, _, err := kept(f.fakeStore, v, id, f.rules, nil)
	return &r, []string{"family"}, err
}

func (f *fakeStore) book(v ngnpro.Viewer, id ngnpro.SipID) (*table[ngnpro.PhonebookEntry], error) {
	if _, err := f.account(v, id); err != nil {
		return nil, err
	}
	t := f.phonebook[id.Key()]
	if t == nil {
		t = &table[ngnpro.PhonebookEntry]{missing: ngnpro.ErrEntryNotFound, taken: ngnpro.ErrEntryExists}
		f.phonebook[id.Key()] = t
	}
	return t, nil
}

func (f fakePhonebook) Add(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID, e *ngnpro.PhonebookEntry) (provisioning.Notices, error) {
	defer f.lock()()
	t, err := f.book(v, id)
	if err != nil {
		return nil, err
	}
	return nil, t.add(e.URI, *e)
}

func (f fakePhonebook) Update(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID, e *ngnpro.PhonebookEntry) (provisioning.Notices, error) {
	defer f.lock()()
	t, err := f.book(v, id)
	if err != nil {
		return nil, err
	}
	return nil, t.update(e.URI, *e)
}

func (f fakePhonebook) Delete(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID, uri string) (provisioning.Notices, error) {
	defer f.lock()()
	t, err := f.book(v, id)
	if err != nil {
		return nil, err
	}
	return nil, t.remove(uri)
}

func (f fakePhonebook) Find(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID, m *ngnpro.PhonebookEntry, r *ngnpro.Range) ([]ngnpro.PhonebookEntry, error) {
	defer f.lock()()
	t, err := f.book(v, id)
	if err != nil {
		return nil, err
	}
	_, es := t.find(r, func(_ string, e *ngnpro.PhonebookEntry) bool {
		return like(m.URI, e.URI) && like(m.Name, e.Name) && like(m.Group, e.Group)
	})
	return es, nil
}

func (f fakePeers) Add(_ context.Context, _ ngnpro.Viewer, p *ngnpro.TrustedPeer) error {
	defer f.lock()()
	return f.peers.add(p.IP, *p)
}

func (f fakePeers) Update(_ context.Context, _ ngnpro.Viewer, p *ngnpro.TrustedPeer) error {
	defer f.lock()()
	return f.peers.update(p.IP, *p)
}

func (f fakePeers) Delete(_ context.Context, _ ngnpro.Viewer, ip string) error {
	defer f.lock()()
	return f.peers.remove(ip)
}

func (f fakePeers) Find(_ context.Context, _ ngnpro.Viewer, q *ngnpro.TrustedPeerQuery) (int, []ngnpro.TrustedPeer, error) {
	defer f.lock()()
	n, ps := f.peers.find(q.Range, func(k string, _ *ngnpro.TrustedPeer) bool { return like(q.Filter.IP, k) })
	return n, ps, nil
}

func (f fakeMailboxes) Add(_ context.Context, v ngnpro.Viewer, a *ngnpro.VoicemailAccount) (provisioning.Notices, error) {
	defer f.lock()()
	if _, err := f.account(v, a.SipID); err != nil {
		return nil, err
	}
	f.last++
	a.Mailbox = strconv.Itoa(f.last)
	return notice(a.SipID), f.boxes.add(a.SipID.Key(), *a)
}

func (f fakeMailboxes) Update(_ context.Context, _ ngnpro.Viewer, a *ngnpro.VoicemailAccount) (provisioning.Notices, error) {
	defer f.lock()()
	return notice(a.SipID), f.boxes.update(a.SipID.Key(), *a)
}

func (f fakeMailboxes) Delete(_ context.Context, _ ngnpro.Viewer, id ngnpro.SipID) (provisioning.Notices, error) {
	defer f.lock()()
	return notice(id), f.boxes.remove(id.Key())
}

func (f fakeMailboxes) Get(_ context.Context, _ ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.VoicemailAccount, error) {
	defer f.lock()()
	return f.boxes.get(id.Key())
}

func (f fakeMailboxes) SetAnnouncement(_ context.Context, v ngnpro.Viewer, id ngnpro.SipID, m []byte) error {
	_, _, err := kept(f.fakeStore, v, id, f.messages, &m)
	return err
}

func rangeKey(id ngnpro.EnumRangeID) string { return id.Prefix + " " + id.TLD }

func (f fakeRanges) Add(_ context.Context, _ ngnpro.Viewer, r *ngnpro.EnumRange) error {
	defer f.lock()()
	return f.ranges.add(rangeKey(r.ID), *r)
}

func (f fakeRanges) Update(_ context.Context, _ ngnpro.Viewer, r *ngnpro.EnumRange) error {
	defer f.lock()()
	return f.ranges.update(rangeKey(r.ID), *r)
}

func (f fakeRanges) Delete(_ context.Context, _ ngnpro.Viewer, id ngnpro.EnumRangeID) error {
	defer f.lock()()
	return f.ranges.remove(rangeKey(id))
}

func (f fakeRanges) Find(_ context.Context, _ ngnpro.Viewer, q *ngnpro.EnumRangeQuery) (int, []ngnpro.EnumRange, error) {
	defer f.lock()()
	n, rs := f.ranges.find(q.Range, func(_ string, r *ngnpro.EnumRange) bool { return like(q.Filter.Prefix, r.ID.Prefix) })
	return n, rs, nil
}

func numberKey(id ngnpro.EnumID) string { return id.Number + " " + id.TLD }

func (f fakeNumbers) Add(_ context.Context, _ ngnpro.Viewer, n *ngnpro.EnumNumber) error {
	defer f.lock()()
	return f.numbers.add(numberKey(n.ID), *n)
}

func (f fakeNumbers) Update(_ context.Context, _ ngnpro.Viewer, n *ngnpro.EnumNumber) error {
	defer f.lock()()
	return f.numbers.update(numberKey(n.ID), *n)
}

func (f fakeNumbers) Delete(_ context.Context, _ ngnpro.Viewer, id ngnpro.EnumID) error {
	defer f.lock()()
	return f.numbers.remove(numberKey(id))
}

func (f fakeNumbers) Get(_ context.Context, _ ngnpro.Viewer, id ngnpro.EnumID) (*ngnpro.EnumNumber, error) {
	defer f.lock()()
	return f.numbers.get(numberKey(id))
}

func (f fakeNumbers) Find(_ context.Context, _ ngnpro.Viewer, q *ngnpro.EnumNumberQuery) (int, []ngnpro.EnumNumber, error) {
	defer f.lock()()
	n, ns := f.numbers.find(q.Range, func(_ string, n *ngnpro.EnumNumber) bool { return like(q.Filter.Number, n.ID.Number) })
	return n, ns, nil
}

func (f fakeCustomers) Credentials(_ context.Context, user string) (*ngnpro.CustomerAccount, string, error) {
	defer f.lock()()
	f.logins++
	if f.fail != nil {
		return nil, "", f.fail
	}
	for _, c := range f.customers.rows {
		if *c.Username == user {
			return &c, f.hash(*c.Password), nil
		}
	}
	return nil, "", ngnpro.ErrCustomerNotFound
}

// hash is a quick one, made once.
func (f *fakeStore) hash(password string) string {
	if f.hashes == nil {
		f.hashes = make(map[string]string)
	}
	if _, ok := f.hashes[password]; !ok {
		b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			panic(err)
		}
		f.hashes[password] = string(b)
	}
	return f.hashes[password]
}

func (f fakeCustomers) Add(_ context.Context, v ngnpro.Viewer, c *ngnpro.CustomerAccount) (*ngnpro.CustomerAccount, error) {
	defer f.lock()()
	for _, x := range f.customers.rows {
		if *x.Username == *c.Username {
			return nil, ngnpro.ErrCustomerExists
		}
	}
	f.last++
	c.ID = ptr(f.last)
	if num(c.Reseller) == 0 && v.Admin {
		c.Reseller = c.ID
	}
	if !v.Admin {
		c.Reseller = ptr(v.Reseller)
	}
	return c, f.customers.add(strconv.Itoa(f.last), *c)
}

func (f fakeCustomers) Update(_ context.Context, _ ngnpro.Viewer, c *ngnpro.CustomerAccount) error {
	defer f.lock()()
	old, err := f.customers.get(strconv.Itoa(num(c.ID)))
	if err != nil {
		return err
	}
	if c.Password == nil {
		c.Password = old.Password
	}
	return f.customers.update(strconv.Itoa(num(c.ID)), *c)
}

func (f fakeCustomers) Delete(_ context.Context, _ ngnpro.Viewer, id int) error {
	defer f.lock()()
	return f.customers.remove(strconv.Itoa(id))
}

func (f fakeCustomers) Get(_ context.Context, v ngnpro.Viewer, id int) (*ngnpro.CustomerAccount, error) {
	defer f.lock()()
	c, err := f.customers.get(strconv.Itoa(id))
	if err == nil && !v.Sees(id, num(c.Reseller)) {
		return nil, ngnpro.ErrCustomerNotFound
	}
	return c, err
}

func (f fakeCustomers) Find(_ context.Context, v ngnpro.Viewer, q *ngnpro.CustomerQuery, resellers bool) (int, []ngnpro.CustomerAccount, error) {
	defer f.lock()()
	n, cs := f.customers.find(q.Range, func(_ string, c *ngnpro.CustomerAccount) bool {
		return v.Sees(num(c.ID), num(c.Reseller)) && resellers == (num(c.ID) == num(c.Reseller)) && like(q.Filter.Username, *c.Username)
	})
	return n, cs, nil
}

func (f fakeCustomers) SetProperties(_ context.Context, _ ngnpro.Viewer, id int, ps []ngnpro.CustomerProperty) error {
	defer f.lock()()
	f.properties[id] = ps
	return nil
}

func (f fakeCustomers) Properties(_ context.Context, _ ngnpro.Viewer, id int) ([]ngnpro.CustomerProperty, error) {
	defer f.lock()()
	return f.properties[id], nil
}

func (f fakePushes) Subscriber(context.Context, string) (*subscriber.Profile, error) {
	return nil, f.fail
}

func (f fakePushes) Changes(context.Context, uint64) (*subscriber.ChangedKeys, error) {
	return nil, f.fail
}

func (f fakePushes) Pending(context.Context, int) (provisioning.Notices, error) { return nil, f.fail }
func (f fakePushes) Acknowledge(context.Context, provisioning.Notices) error    { return f.fail }

func (f fakePushes) Trust(context.Context) (*subscriber.Trust, error) { return nil, f.fail }
