package lookup_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"thor/overlay/lookup"
	"thor/subjects"
)

var update = flag.Bool("update", false, "write testdata/vectors-v1.json anew: only together with a new version of the function")

// vectors is the file by which other implementations check themselves. Numbers
// above 2^53 are strings.
type vectors struct {
	Function string                    `json:"function"`
	Hash     [][2]string               `json:"hash"`       // bytes in hex, XXH64 in hex
	Log2     string                    `json:"log2_table"` // XXH64 of the 4,097 entries, 8 bytes each, little-endian
	Scores   []vectorScore             `json:"scores"`
	Normal   [][2]string               `json:"normal"` // key, normal form
	Bad      []string                  `json:"bad"`
	Sets     map[string][]vectorMember `json:"sets"`
	Tables   []vectorTable             `json:"tables"`
	Lookups  []vectorLookup            `json:"lookups"`
	History  []vectorStep              `json:"history"` // from no members on, in 2^10 slots
}

type vectorScore struct {
	X      string `json:"x"` // hex
	Weight int    `json:"weight"`
	L      uint64 `json:"l"`
	Score  string `json:"score"` // decimal
}

type vectorMember struct {
	Node     subjects.NodeID `json:"node"`
	Weight   int             `json:"weight"`
	Draining bool            `json:"draining,omitempty"`
}

type vectorTable struct {
	Set    string `json:"set"`
	Bits   int    `json:"bits"`
	Digest string `json:"digest"`
}

type vectorLookup struct {
	Set       string          `json:"set"`
	Bits      int             `json:"bits"`
	Key       string          `json:"key"`
	Slot      uint32          `json:"slot"`
	Label     string          `json:"label"`
	Owner     subjects.NodeID `json:"owner"`
	Heir      subjects.NodeID `json:"heir"`
	Residence subjects.NodeID `json:"residence"`
}

type vectorStep struct {
	Members []vectorMember `json:"members"` // that differ from the step before
	Gone    []string       `json:"gone,omitempty"`
	Digest  string         `json:"digest"`
}

func (v vectorMember) member() lookup.Member {
	return lookup.Member{Node: v.Node, Weight: v.Weight, Draining: v.Draining}
}

func vectorOf(m lookup.Member) vectorMember { return vectorMember{m.Node, m.Weight, m.Draining} }

const vectorFile = "vectors-v1.json"

func members(vs []vectorMember) []lookup.Member {
	out := make([]lookup.Member, len(vs))
	for i, v := range vs {
		out[i] = v.member()
	}
	return out
}

func TestVectorFile(t *testing.T) {
	path := filepath.Join("testdata", vectorFile)
	if *update {
		writeVectors(t, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if v.Function != "THORLKP1" || len(v.Lookups) < 1000 || len(v.History) < 300 || len(v.Scores) < 500 {
		t.Fatalf("the file is not whole: %d lookups", len(v.Lookups))
	}
	again, err := json.Marshal(recompute(t, &v))
	if err != nil {
		t.Fatal(err)
	}
	given, err := json.Marshal(&v)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, given) {
		i := 0
		for i < min(len(again), len(given)) && again[i] == given[i] {
			i++
		}
		t.Errorf("computed …%.200s…\nthe file has …%.200s…", again[max(0, i-60):], given[max(0, i-60):])
	}
	for _, k := range v.Bad {
		if n, err := lookup.Normalise(k); err == nil {
			t.Errorf("%q is accepted as %q", k, n)
		}
	}
}

// recompute answers every question of v.
func recompute(t *testing.T, v *vectors) *vectors {
	t.Helper()
	out := &vectors{Function: v.Function, Bad: v.Bad, Sets: v.Sets, Log2: log2Digest()}
	for _, h := range v.Hash {
		b, err := hexBytes(h[0])
		if err != nil {
			t.Fatal(err)
		}
		out.Hash = append(out.Hash, [2]string{h[0], fmt.Sprintf("%016x", lookup.Hash(string(b)))})
	}
	for _, s := range v.Scores {
		x, err := strconv.ParseUint(s.X, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		out.Scores = append(out.Scores, newScore(x, s.Weight))
	}
	for _, n := range v.Normal {
		normal, err := lookup.Normalise(n[0])
		if err != nil {
			t.Errorf("%q: %v", n[0], err)
		}
		out.Normal = append(out.Normal, [2]string{n[0], normal})
	}
	tables := make(map[string]*lookup.Table)
	for _, x := range v.Tables {
		tab := table(t, x.Bits, members(v.Sets[x.Set]))
		tables[fmt.Sprint(x.Set, x.Bits)] = tab
		x.Digest = tab.Digest()
		out.Tables = append(out.Tables, x)
	}
	for _, x := range v.Lookups {
		out.Lookups = append(out.Lookups, newLookup(t, x.Set, tables[fmt.Sprint(x.Set, x.Bits)], x.Key))
	}
	out.History = replay(t, v.History)
	return out
}

// replay computes the digests of a history, each table made from the one before.
func replay(t *testing.T, steps []vectorStep) (out []vectorStep) {
	t.Helper()
	var ms []lookup.Member
	tab := table(t, 10, nil)
	for _, s := range steps {
		for _, m := range s.Members {
			if i := slices.IndexFunc(ms, func(x lookup.Member) bool { return x.Node == m.Node }); i >= 0 {
				ms[i] = m.member()
			} else {
				ms = append(ms, m.member())
			}
		}
		ms = slices.DeleteFunc(ms, func(x lookup.Member) bool { return slices.Contains(s.Gone, string(x.Node)) })
		var err error
		if tab, err = tab.Update(ms); err != nil {
			t.Fatal(err)
		}
		s.Digest = tab.Digest()
		out = append(out, s)
	}
	return out
}

func hexBytes(s string) (b []byte, err error) {
	_, err = fmt.Sscanf(s, "%x", &b)
	if s == "" {
		err = nil
	}
	return b, err
}

func log2Digest() string {
	var b []byte
	for _, x := range lookup.Log2Table() {
		for i := range 8 {
			b = append(b, byte(x>>(8*i)))
		}
	}
	return fmt.Sprintf("%016x", lookup.Hash(string(b)))
}

func newScore(x uint64, w int) vectorScore {
	return vectorScore{fmt.Sprintf("%016x", x), w, lookup.NegLog2(x), strconv.FormatUint(lookup.Score(x, uint64(w)), 10)}
}

func newLookup(t *testing.T, set string, tab *lookup.Table, key string) vectorLookup {
	t.Helper()
	p, err := tab.Find(key)
	if err != nil {
		t.Fatalf("%s: %q: %v", set, key, err)
	}
	return vectorLookup{set, tab.Bits(), key, p.Slot(), lookup.Label(tab.Bits(), p.Slot()), p.Owner(), p.Heir(), cmp.Or(p.Previous(), p.Owner())}
}

// writeVectors asks the questions. That the answers are right is shown by the
// published digests and lookups, which other programs computed, and by the
// implementation in C.
func writeVectors(t *testing.T, path string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 18))
	v := &vectors{Function: "THORLKP1", Sets: make(map[string][]vectorMember)}
	for n := range 70 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		v.Hash = append(v.Hash, [2]string{fmt.Sprintf("%x", b), ""})
	}
	xs := []uint64{0, 1, 2, 3, 1<<63 - 1, 1 << 63, 3 << 62, 0xffffffff00000000, 1<<64 - 2, 1<<64 - 1}
	for i := range 500 {
		xs = append(xs, rng.Uint64()>>(i%64))
	}
	for i, x := range xs {
		v.Scores = append(v.Scores, newScore(x, []int{100, 1, 65535, 50, 7}[i%5]))
	}
	var good []string
	for len(v.Normal) < 200 || len(v.Bad) < 100 {
		k := randomKey(rng)
		if n, err := lookup.Normalise(k); err == nil {
			if len(v.Normal) < 200 {
				v.Normal = append(v.Normal, [2]string{k, n})
			}
			good = append(good, k)
		} else if len(v.Bad) < 100 {
			v.Bad = append(v.Bad, k)
		}
	}
	drained := setA(10)
	drained[2].Draining, drained[7].Draining, drained[4].Weight = true, true, 0
	edge := []lookup.Member{{Node: "z"}, {Node: "c", Weight: 65535}, {Node: "a", Weight: 1}, {Node: "b", Weight: 65535}}
	sets := map[string][]lookup.Member{"one": setA(1), "two": setA(2), "edge": edge, "A10": setA(10), "B10": setB(10), "drained": drained, "A100": setA(100), "B300": setB(300)}
	tables := make(map[string]*lookup.Table)
	names := []string{"one", "two", "edge", "A10", "B10", "drained", "A100", "B300"}
	for _, name := range names {
		for _, m := range sets[name] {
			v.Sets[name] = append(v.Sets[name], vectorOf(m))
		}
		for _, bits := range []int{10, 18} {
			tables[fmt.Sprint(name, bits)] = table(t, bits, sets[name])
			v.Tables = append(v.Tables, vectorTable{Set: name, Bits: bits})
		}
	}
	for i := range 1000 {
		name := names[i%len(names)]
		v.Lookups = append(v.Lookups, newLookup(t, name, tables[fmt.Sprint(name, 18)], good[rng.IntN(len(good))]))
	}
	v.History = writeHistory(rng)
	b, err := json.Marshal(recompute(t, v))
	if err != nil {
		t.Fatal(err)
	}
	// One object a line keeps differences readable.
	b = bytes.ReplaceAll(b, []byte("},{"), []byte("},\n{"))
	b = bytes.ReplaceAll(b, []byte(`],"`), []byte("],\n\""))
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeHistory(rng *rand.Rand) (out []vectorStep) {
	var ms []lookup.Member
	for range 300 {
		next, who := step(rng, ms, 20)
		s := vectorStep{Members: []vectorMember{}}
		if i := slices.IndexFunc(next, func(m lookup.Member) bool { return m.Node == who }); i >= 0 {
			s.Members = append(s.Members, vectorOf(next[i]))
		} else {
			s.Gone = []string{string(who)}
		}
		out = append(out, s)
		ms = next
	}
	return out
}

// The vectors of version 2 were made by the implementation in Python.
func TestVectorFileOfTheRemotes(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "vectors-v2.json"))
	if err != nil {
		t.Fatal(err)
	}
	type member struct {
		Node     subjects.NodeID `json:"node"`
		Weight   int             `json:"weight"`
		Draining bool            `json:"draining"`
		Site     subjects.Site   `json:"site"`
	}
	var v struct {
		Function string              `json:"function"`
		Sets     map[string][]member `json:"sets"`
		Tables   []struct {
			vectorTable
			Remote string `json:"remote_digest"`
		} `json:"tables"`
		Lookups []struct {
			Set                 string
			Bits                int
			Key                 string
			Slot                uint32
			Owner, Heir, Remote subjects.NodeID
		} `json:"lookups"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if v.Function != "THORLKP2" || len(v.Lookups) < 700 || len(v.Tables) < 13 {
		t.Fatalf("the file is not whole: %d lookups", len(v.Lookups))
	}
	tables := make(map[string]*lookup.Table)
	for name, set := range v.Sets {
		ms := make([]lookup.Member, len(set))
		for i, m := range set {
			ms[i] = lookup.Member{Node: m.Node, Weight: m.Weight, Draining: m.Draining, Site: m.Site}
		}
		for _, bits := range []int{10, 18} {
			tables[fmt.Sprint(name, bits)] = table(t, bits, ms)
		}
	}
	for _, x := range v.Tables {
		if tab := tables[fmt.Sprint(x.Set, x.Bits)]; tab.Digest() != x.Digest || tab.RemoteDigest() != x.Remote {
			t.Errorf("%s: %s, remotes %q; want %s, %q", x.Set, tab.Digest(), tab.RemoteDigest(), x.Digest, x.Remote)
		}
	}
	for _, x := range v.Lookups {
		p, err := tables[fmt.Sprint(x.Set, x.Bits)].Find(x.Key)
		if want := (names{x.Slot, x.Owner, x.Heir, p.Previous(), x.Remote}); err != nil || namesOf(p) != want {
			t.Errorf("%s: %s: %+v, %v; want %+v", x.Set, x.Key, namesOf(p), err, want)
		}
	}
}
