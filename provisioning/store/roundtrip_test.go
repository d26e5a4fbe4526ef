package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
)

// roundTrips is how many records of each type the database has to take.
const roundTrips = 500

// A random source makes records that are mostly plausible, up to the limits of
// their fields and a little beyond.
type random struct {
	*rand.Rand
	n int // of the record
}

func (r *random) one(of ...string) string { return of[r.IntN(len(of))] }

// text is one of some length, mostly short, now and then around a limit.
func (r *random) text(alphabet string) string {
	n := r.IntN(12)
	if r.IntN(25) == 0 {
		n = []int{32, 64, 128, 255, 1024}[r.IntN(5)] - 1 + r.IntN(2)
		if r.IntN(8) == 0 {
			n++
		}
	}
	set, out := []rune(alphabet), make([]rune, n)
	for i := range out {
		out[i] = set[r.IntN(len(set))]
	}
	return string(out)
}

const (
	lower   = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	figures = "0123456789"
	anyText = lower + upper + figures + " .,-_/&%+éßçñ€漢𝄞\u212aİ'"
	anyLine = anyText + "\n\r\t<>\"\\;"
)

func (r *random) host() string {
	h := r.one("a", "ns1", "Mail", "x-y", "_sip", strconv.Itoa(r.n)) + "." + r.one("example", "Example", "test", "d\u212a")
	if r.IntN(30) == 0 {
		h = strings.Repeat(r.one("a", "b2"), 12+r.IntN(20)) + "." + h
	}
	return h
}

func (r *random) user() string {
	u := r.one("u", "U", "31", "a.b", "x+y", "*", "\u212a", "!") + strconv.Itoa(r.n)
	if r.IntN(20) == 0 {
		u += strings.Repeat("0", r.IntN(65))
	}
	return u
}

func (r *random) uri() string {
	return r.one("sip:", "SIPS:", "sip:b%20", "sip:"+r.one("", "", "", "x@")) + r.user() + "@" + r.one("a.example", r.host()) + r.one("", ":5060", ";transport=tls", "?a=b"+r.one("", "", "<"))
}

func (r *random) address() string {
	a := fmt.Sprintf("%d.%d.%d.%d", 1+r.IntN(223), r.IntN(256), r.IntN(256), r.IntN(256))
	b := fmt.Sprintf("2001:DB8:%x::%x", r.IntN(1<<16), r.IntN(1<<16))
	return r.one(a, a, a, b, "::ffff:"+a)
}

// words is a list with doubles and empty ones.
func (r *random) words(f func() string) []string {
	n := r.IntN(5)
	if r.IntN(30) == 0 {
		n = r.IntN(104)
	}
	out := make([]string, n)
	for i := range out {
		if out[i] = f(); r.IntN(8) == 0 {
			out[i] = out[r.IntN(i+1)]
		}
	}
	return out
}

// strings that are not any text, by their fields.
func (r *random) string(path string) string {
	switch path[strings.LastIndexByte(path, '.')+1:] {
	case "Email", "BillingEmail":
		return r.one("", "a@b", "A.b+c@Mail.example", r.text(lower)+"@"+r.host())
	case "Timezone":
		return r.one("", "Europe/Amsterdam", "UTC", "America/Argentina/ComodRivadavia", "Nowhere/Land")
	case "Certificate", "PrivateKey":
		return r.one("", strings.Repeat(r.one("-", "a\n", "é"), r.IntN(16400)))
	case "Info", "Address", "BillingAddress", "BankAccount", "Value":
		return r.text(anyLine)
	case "MapTo", "URI":
		return r.uri()
	case "Type":
		return r.one("sip", "SIP", "mailto", "web:http", "void:x", "x\u212a", r.text(lower+":"))
	case "Tags":
		return r.one("", "a", "gw,eu", r.text(lower))
	}
	return r.text(anyText)
}

// fill gives every field that a client may leave out a value, or leaves it out.
func (r *random) fill(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() && r.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			r.fill(v.Elem(), path)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !strings.HasSuffix(f.Tag.Get("soap"), ",ro") {
				r.fill(v.Field(i), path+"."+f.Name)
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			n := r.IntN(4)
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				r.fill(v.Index(i), path)
			}
		}
	case reflect.String:
		if v.String() == "" {
			v.SetString(r.string(path))
		}
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int:
		v.SetInt([]int64{0, 1, 5, 20, 31, 1<<31 - 1, int64(r.IntN(60))}[r.IntN(7)])
	case reflect.Float64:
		v.SetFloat([]float64{0, 0.1, -0.00001, 1234.56789, 99999999999.9999, -5}[r.IntN(6)] + float64(r.IntN(3)))
	}
}

// A kind is a type of record: how to make one with its key, and what the server
// does with it.
type kind[R any] struct {
	name             string
	make             func(r *random) *R
	clean, add, save func(*R) error
	read             func(*R) (*R, error)
}

// roundTrip makes records until the database has taken enough of those that Clean
// accepts. Each comes back as it was cleaned, and sending that back changes
// nothing.
func (k kind[R]) roundTrip(t *testing.T, seed uint64) {
	r := &random{Rand: rand.New(rand.NewPCG(seed, uint64(len(k.name))))}
	taken, failed := 0, 0
	for taken < roundTrips && r.n < 40*roundTrips && failed < 10 {
		r.n++
		x := k.make(r)
		r.fill(reflect.ValueOf(x).Elem(), "")
		if k.clean(x) != nil {
			continue
		}
		if why := k.trip(x); why != nil {
			if !slices.ContainsFunc(aboutOthers, func(f *ngnpro.Fault) bool { return errors.Is(why, f) }) {
				failed++
				t.Errorf("%v: %s", why, asJSON(x))
			}
			continue
		}
		taken++
	}
	t.Logf("%d of %d were accepted", taken, r.n)
	if taken < roundTrips && failed == 0 {
		t.Errorf("only %d records got there: this test has lost them", taken)
	}
}

// aboutOthers are the faults for which one has to know what else there is.
var aboutOthers = []*ngnpro.Fault{
	ngnpro.ErrDomainExists, ngnpro.ErrAccountExists, ngnpro.ErrAliasExists, ngnpro.ErrPeerExists, ngnpro.ErrEntryExists,
	ngnpro.ErrRangeExists, ngnpro.ErrNumberExists, ngnpro.ErrCustomerExists, ngnpro.ErrRangeNotFound,
}

// trip is one record's way to the database and back.
func (k kind[R]) trip(x *R) error {
	given := asJSON(x)
	if err := k.add(x); err != nil {
		return fmt.Errorf("add: %w", err)
	}
	got, err := k.read(x)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if d := lost(decoded(given), decoded(asJSON(got)), ""); d != "" {
		return fmt.Errorf("it came back otherwise: %s", d)
	}
	before := asJSON(got)
	if err := k.clean(got); err != nil {
		return fmt.Errorf("what was read is refused: %w", err)
	}
	if err := k.save(got); err != nil {
		return fmt.Errorf("save what was read: %w", err)
	}
	again, err := k.read(x)
	if err != nil {
		return fmt.Errorf("read again: %w", err)
	}
	was, is := decoded(before), decoded(asJSON(again))
	if d := lost(was, is, "") + lost(is, was, ""); d != "" {
		return fmt.Errorf("saving what was read changed it: %s", d)
	}
	return nil
}

func asJSON(x any) string {
	b, err := json.Marshal(x)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func decoded(s string) (x any) {
	if err := json.Unmarshal([]byte(s), &x); err != nil {
		panic(err)
	}
	return x
}

// lost says what of given is not in got. What was not given may be anything, and
// so may what only the server sets. Secrets do not come back in all forms.
func lost(given, got any, path string) string {
	switch g := given.(type) {
	case nil:
		return ""
	case map[string]any:
		have, _ := got.(map[string]any)
		for _, k := range slices.Sorted(maps.Keys(g)) {
			serverSets := k == "ChangeDate" || k == "CreateDate" || k == "Serial" || k == "Used" || k == "Mailbox"
			if serverSets || k == "Password" && (have[k] == nil || have[k] == "") {
				continue
			}
			if d := lost(g[k], have[k], path+"."+k); d != "" {
				return d
			}
		}
		return ""
	case []any:
		have, _ := got.([]any)
		if len(g) != len(have) {
			return fmt.Sprintf("%s: %d items, not %d", path, len(have), len(g))
		}
		for i := range g {
			if d := lost(g[i], have[i], fmt.Sprintf("%s[%d]", path, i)); d != "" {
				return d
			}
		}
		return ""
	}
	if given != got && (given != "" || got != nil) { // empty is none
		return fmt.Sprintf("%s: %.80q, not %.80q", path, fmt.Sprint(got), fmt.Sprint(given))
	}
	return ""
}

// found is the one record of a list.
func found[R any](n int, rs []R, err error) (*R, error) {
	if err == nil && n != 1 {
		err = fmt.Errorf("%d are found", n)
	}
	if err != nil {
		return nil, err
	}
	return &rs[0], nil
}

// A list is what an account has of plain texts.
type list struct{ Items []string }

// What Clean accepts, the database takes; a read returns it unchanged, and an
// update with what was read changes nothing.
func TestWhatIsValidIsKeptAsItIs(t *testing.T) {
	w := newWorld(t, func(c *store.Config) { c.Log = zerolog.Nop() })
	w.domain("d.example")
	w.someone = w.customer("r", 0)
	for _, target := range []string{"target1", "target2", "target3"} {
		w.account(target + "@d.example")
	}
	for _, p := range []string{"31"} {
		w.ok(w.Ranges.Add(w.ctx, admin, &ngnpro.EnumRange{ID: ngnpro.EnumRangeID{Prefix: p, TLD: "e164.arpa"}}))
	}
	seed := rand.Uint64()
	if s := os.Getenv("THOR_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("THOR_SEED=%d", seed)
	t.Run("kinds", func(t *testing.T) {
		each(t, seed, w.domainKind())
		each(t, seed, w.accountKind())
		each(t, seed, w.aliasKind())
		each(t, seed, w.peerKind())
		each(t, seed, w.mailboxKind())
		each(t, seed, w.rangeKind())
		each(t, seed, w.numberKind())
		each(t, seed, w.customerKind())
		each(t, seed, w.entryKind())
		each(t, seed, w.diversionsKind())
		each(t, seed, w.barringKind())
		each(t, seed, w.rejectKind())
		each(t, seed, w.rulesKind())
	})
	w.check()
}

func or[T any](p *[]T) []T {
	if p == nil {
		return nil
	}
	return *p
}

func each[R any](t *testing.T, seed uint64, k kind[R]) {
	t.Run(k.name, func(t *testing.T) {
		t.Parallel()
		k.roundTrip(t, seed)
	})
}
