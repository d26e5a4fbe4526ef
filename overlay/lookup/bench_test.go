package lookup_test

import (
	"fmt"
	"testing"

	"thor/overlay/lookup"
)

// keys are 27 bytes long, of many subscribers, so that slots are spread.
func keys(n int, form string) []string {
	ks := make([]string, n)
	for i := range ks {
		ks[i] = fmt.Sprintf(form, i)
	}
	return ks
}

const (
	normal = "user%07d@sip.example.net"
	uri    = "sip:user%07d@SIP.Example.net:5061;transport=tls"
)

var sink uint64

func BenchmarkHash(b *testing.B) {
	ks := keys(1024, normal)
	for i := range b.N {
		sink += lookup.Hash(ks[i&1023])
	}
}

func BenchmarkLookup(b *testing.B) {
	ks, us := keys(1024, normal), keys(1024, uri)
	for _, n := range []int{10, 100, 1000} {
		tab := table(b, 18, setB(n))
		for _, c := range []struct {
			name string
			keys []string
			find func(string) (lookup.Assignment, error)
		}{{"normalised", ks, tab.FindRaw}, {"find", ks, tab.Find}, {"uri", us, tab.Find}} {
			b.Run(fmt.Sprintf("%s-%d", c.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					p, err := c.find(c.keys[i&1023])
					if err != nil {
						b.Fatal(err)
					}
					sink += uint64(len(p.Owner()))
				}
			})
		}
	}
}

// benchSets are sets of members of equal and of mixed weights, without sites and in
// three.
func benchSets(n int) map[string][]lookup.Member {
	return map[string][]lookup.Member{
		"equal": setB(n), "mixed": setA(n), "equal-sites": sited(setB(n), "ams", "fra", "par"), "mixed-sites": sited(setA(n), "ams", "fra", "par"),
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{3, 10, 100, 1000} {
		for name, ms := range benchSets(n) {
			b.Run(fmt.Sprintf("%s-%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					table(b, 18, ms)
				}
			})
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{3, 10, 100, 1000} {
		for name, ms := range benchSets(n + 1) {
			small, full := table(b, 18, ms[:n]), table(b, 18, ms)
			for what, c := range map[string]struct {
				from *lookup.Table
				to   []lookup.Member
			}{"join": {small, ms}, "leave": {full, ms[:n]}} {
				b.Run(fmt.Sprintf("%s-%s-%d", what, name, n), func(b *testing.B) {
					for range b.N {
						if _, err := c.from.Update(c.to); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
