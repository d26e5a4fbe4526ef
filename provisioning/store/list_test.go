package store_test

import (
	"fmt"
	"strings"
	"testing"

	"thor/provisioning/ngnpro"
)

func TestListsFilterSortAndPage(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.domain("e.example")
	for i := range 25 {
		d := []string{"d.example", "e.example"}[i%2]
		w.account(fmt.Sprintf("u_%02d@%s", i, d), func(a *ngnpro.SipAccount) {
			a.FirstName, a.Owner = new(fmt.Sprintf("Näme %d", i)), new(i%3)
			if i%5 == 0 {
				a.Groups = &[]string{"blocked", "quota"}
			}
		})
	}
	find := func(f func(*ngnpro.SipQuery)) (int, string) {
		t.Helper()
		q := &ngnpro.SipQuery{}
		f(q)
		total, as, err := w.Accounts.Find(w.ctx, admin, clean(q))
		w.ok(err)
		var us []string
		for _, a := range as {
			us = append(us, strings.TrimPrefix(a.ID.Username, "u_"))
		}
		return total, strings.Join(us, " ")
	}
	for _, c := range []struct {
		what  string
		f     func(*ngnpro.SipQuery)
		total int
		users string
	}{
		{"page", func(q *ngnpro.SipQuery) { q.Range = &ngnpro.Range{Start: 20, Count: 3} }, 25, "20 21 22"},
		{"last page", func(q *ngnpro.SipQuery) { q.Range = &ngnpro.Range{Start: 24, Count: 10} }, 25, "24"},
		{"behind the end", func(q *ngnpro.SipQuery) { q.Range = &ngnpro.Range{Start: 99} }, 25, ""},
		{"descending", func(q *ngnpro.SipQuery) {
			q.OrderBy, q.Range = &ngnpro.OrderBy{Attribute: "username", Direction: "DESC"}, &ngnpro.Range{Count: 2}
		}, 25, "24 23"},
		{"by domain", func(q *ngnpro.SipQuery) {
			q.OrderBy, q.Range = &ngnpro.OrderBy{Attribute: "domain", Direction: "DESC"}, &ngnpro.Range{Count: 2}
		}, 25, "01 03"},
		{"empty order", func(q *ngnpro.SipQuery) { q.OrderBy, q.Range = &ngnpro.OrderBy{}, &ngnpro.Range{Count: 1} }, 25, "00"},
		{"wildcards", func(q *ngnpro.SipQuery) { q.Filter.Username, q.Filter.Domain = "U_0%", "D.example" }, 5, "00 02 04 06 08"},
		{"escaped", func(q *ngnpro.SipQuery) { q.Filter.Username = `u\_1_` }, 10, "10 11 12 13 14 15 16 17 18 19"},
		{"exact", func(q *ngnpro.SipQuery) { q.Filter.Username = "u" }, 0, ""},
		{"first name in any case", func(q *ngnpro.SipQuery) { q.Filter.FirstName = "nÄME 7" }, 1, "07"},
		{"owner", func(q *ngnpro.SipQuery) { q.Filter.Owner = 2; q.Filter.Username = "u_0%" }, 3, "02 05 08"},
		{"groups", func(q *ngnpro.SipQuery) { q.Filter.Groups = []string{"", "quota", "blocked"} }, 5, "00 05 10 15 20"},
		{"no such group", func(q *ngnpro.SipQuery) { q.Filter.Groups = []string{"quota", "x' OR 1=1 -- "} }, 0, ""},
		{"empty groups", func(q *ngnpro.SipQuery) { q.Filter.Groups = []string{""}; q.Range = &ngnpro.Range{Count: 1} }, 25, "00"},
	} {
		if total, users := find(c.f); total != c.total || users != c.users {
			t.Errorf("%s: %d, %q, want %d, %q", c.what, total, users, c.total, c.users)
		}
	}
	w.alias("x@d.example", "u_01@e.example")
	w.alias("y@e.example", "u_00@d.example")
	q := &ngnpro.AliasQuery{OrderBy: &ngnpro.OrderBy{Attribute: "targetUsername"}}
	q.Filter.TargetUsername = "u_0%"
	if total, as, err := w.Aliases.Find(w.ctx, admin, q); err != nil || total != 2 || as[0].ID.Username != "y" {
		t.Errorf("%d, %+v, %v", total, as, err)
	}
	w.check()
}
