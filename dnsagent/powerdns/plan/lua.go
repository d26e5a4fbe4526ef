package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
)

// Bounds of one LUA row. PowerDNS compiles the code for each answer, so its length
// is what an answer costs; a larger set is cut, and another part taken each time
// it is drawn anew.
const (
	maxPool     = 256
	maxPoolText = 24 << 10 // bytes of the records
)

// A drawing is a set, or a part of it, that PowerDNS draws the records of each
// answer from, by code in Lua.
type drawing struct {
	slice    int
	contents []string
	weights  []uint64
}

// drawingOf is that of s. A set that a row has no room for is cut to a part, in which
// all records have the same chance to be: their weights count when an answer is drawn.
func drawingOf(s zone.RRset, rng func(zone.RRset) *rand.Rand) (d drawing, cut bool) {
	d.slice = s.Slice
	var picked []int
	size := 0
	for _, i := range rng(s).Perm(len(s.Records)) {
		text := luaContent(s.Records[i])
		if !harmless(text) {
			continue
		}
		if size += len(text); len(picked) == maxPool || size > maxPoolText {
			cut = true
			break
		}
		picked = append(picked, i)
	}
	slices.Sort(picked)
	weights := s.Weights()
	for _, i := range picked {
		d.contents, d.weights = append(d.contents, luaContent(s.Records[i])), append(d.weights, weights[i])
	}
	return d, cut
}

// harmless accepts what addresses and host names are written with: the rest could end
// the text that the code holds, and PowerDNS would run it.
func harmless(text string) bool {
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_ ") == ""
}

// luaContent is how the code in a LUA row names a record of a drawn set.
func luaContent(rr dns.RR) string {
	if rr, ok := rr.(*dns.SRV); ok {
		return fmt.Sprintf("%d %d %d %s", rr.Priority, rr.Weight, rr.Port, rr.Target)
	}
	text, _ := content(rr)
	return text
}

// code draws as zone.Draw does: distinct records, each next one with a
// probability proportional to its weight among those not yet drawn. pdnsrandom is
// PowerDNS' own: math.random would give the same numbers for each answer, since
// each has a new Lua state.
func (d *drawing) code() string {
	list := "'" + strings.Join(d.contents, "','") + "'"
	k := min(d.slice, len(d.contents))
	if slices.Min(d.weights) == slices.Max(d.weights) {
		return fmt.Sprintf(";local a={%s} local r={} for i=1,%d do local j=i+pdnsrandom(#a-i+1) r[i]=a[j] a[j]=a[i] end return r", list, k)
	}
	return fmt.Sprintf(";local a={%s} local c={[0]=0,%s} ", list, d.sums()) + fmt.Sprintf(weighted, k)
}

// weighted draws by the running sums c of the weights. t holds the records drawn
// before in their order: a number is moved past their shares, so none is drawn
// twice and no draw has to be repeated.
const weighted = `local n,t,r=#a,{},{} local w=c[n] for i=1,%d do ` +
	`local v=pdnsrandom(w) local p=1 while p<i do local x=t[p] if v<c[x-1] then break end v=v+c[x]-c[x-1] p=p+1 end ` +
	`local l,h=1,n while l<h do local m=math.floor((l+h)/2) if c[m]>v then h=m else l=m+1 end end ` +
	`table.insert(t,p,l) w=w-c[l]+c[l-1] r[i]=a[l] end return r`

// sums are the running sums of the weights, the last one within 32 bits as
// pdnsrandom has it.
func (d *drawing) sums() string {
	var divisor, total uint64
	for _, w := range d.weights {
		divisor, total = gcd(divisor, w), total+w
	}
	if most := uint64(math.MaxUint32 / 2); total/divisor > most {
		divisor = total/most + 1
	}
	var b strings.Builder
	var sum uint64
	for i, w := range d.weights {
		sum += max(w/divisor, 1)
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d", sum)
	}
	return b.String()
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
