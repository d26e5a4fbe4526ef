package lookup_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"thor/overlay/lookup"
	"thor/subjects"
)

// setA and setB are the member sets of the published vectors: mixed and equal weights.
func setA(n int) []lookup.Member { return set(n, 100, 200, 400, 50, 150) }
func setB(n int) []lookup.Member { return set(n, 100) }

func set(n int, weights ...int) []lookup.Member {
	ms := make([]lookup.Member, n)
	for i := range ms {
		ms[i] = lookup.Member{Node: subjects.NodeID(fmt.Sprintf("n%04d", i)), Weight: weights[i%len(weights)]}
	}
	return ms
}

// names are those of an assignment.
type names struct {
	slot                          uint32
	owner, heir, previous, remote subjects.NodeID
}

func namesOf(a lookup.Assignment) names {
	return names{a.Slot(), a.Owner(), a.Heir(), a.Previous(), a.Remote()}
}

func table(t testing.TB, bits int, ms []lookup.Member) *lookup.Table {
	t.Helper()
	x, err := lookup.New(bits, ms)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestHashIsXXH64(t *testing.T) {
	for s, want := range map[string]uint64{
		"": 0xef46db3751d8e999, "a": 0xd24ec4f1a98c6e5b, "n0000": 0x3bd5e99eb1edcdd7,
		"sip-proxy-1": 0xe744bb1a312a828f, "alice@example.com": 0xc21eb846cc96c11e,
	} {
		if got := lookup.Hash(s); got != want {
			t.Errorf("Hash(%q) = %016x, want %016x", s, got, want)
		}
	}
}

func TestLogarithmTableAndScoresAreThePublishedOnes(t *testing.T) {
	tab := lookup.Log2Table()
	var b []byte
	for _, v := range tab {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	if got := xxhash.Sum64(b); got != 0x6331c7d1a37f51f4 {
		t.Errorf("H(T) = %016x", got)
	}
	for i, want := range map[int]uint64{1: 387223234, 2: 774351966, 1024: 353963683636, 2048: 643173071355, 3072: 887696124544, 4095: 1099317980705, 4096: 1099511627776} {
		if tab[i] != want {
			t.Errorf("T[%d] = %d, want %d", i, tab[i], want)
		}
	}
	for _, c := range []struct{ x, l, score uint64 }{
		{0, 70368744177664, 46116860184273879},
		{1, 70368744177664, 46116860184273879},
		{0x0123456789abcdef, 8591343284810, 5630422735133081},
		{0x7fffffffffffffff, 1099511627777, 720575940379934},
		{0x8000000000000000, 1099511627776, 720575940379279},
		{0xc000000000000000, 456338556421, 299066036336066},
		{0xffffffff00000000, 370, 242483},
		{0xfffffffffffffffe, 1, 655},
		{0xffffffffffffffff, 1, 655},
	} {
		if l, s := lookup.NegLog2(c.x), lookup.Score(c.x, 100); l != c.l || s != c.score {
			t.Errorf("x %016x: L %d, want %d; score %d, want %d", c.x, l, c.l, s, c.score)
		}
	}
	for _, c := range []struct {
		node     string
		slot     uint32
		x, w, sc uint64
	}{
		{"n0000", 0, 0x5b784f3dda010789, 100, 1069892349349068},
		{"n0001", 0, 0xd01202fd5a78f884, 200, 107752173937950},
		{"n0002", 0, 0xf5f5dcef6cf7490c, 400, 10397503685754},
		{"n0000", 1, 0x4d86104f339cf90d, 100, 1241865606907822},
		{"n0001", 1, 0x066eefec85a44d66, 200, 1914725259338055},
		{"n0002", 1, 0x7e66b01ff705812d, 400, 183410807868293},
	} {
		x := lookup.Mix64(lookup.Hash(c.node) ^ lookup.SlotHash(c.slot))
		if s := lookup.Score(x, c.w); x != c.x || s != c.sc {
			t.Errorf("%s in slot %d: x %016x, want %016x; score %d, want %d", c.node, c.slot, x, c.x, s, c.sc)
		}
	}
	for s, want := range map[uint32]uint64{0: 0x9ca066f1a4ab2eea, 1: 0xe5fdc025e13eeed5, 2: 0xf8f76353b6d877c5, 262143: 0x62fae08c14131e48} {
		if got := lookup.SlotHash(s); got != want {
			t.Errorf("m(%d) = %016x, want %016x", s, got, want)
		}
	}
}

// The cheap bound must never reject a draw that could win.
func TestBoundStaysBelowTheLogarithm(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 1_000_000 {
		x := rng.Uint64() >> (i % 64)
		if i%2 == 1 {
			x = ^x
		}
		if f, l := lookup.NegLog2Floor(x), lookup.NegLog2(x); f > l {
			t.Fatalf("x %016x: bound %d above %d", x, f, l)
		}
	}
}

func TestTablesHaveThePublishedDigests(t *testing.T) {
	edge := []lookup.Member{{Node: "z"}, {Node: "c", Weight: 65535}, {Node: "a", Weight: 1}, {Node: "b", Weight: 65535}}
	drained := setA(10)
	drained[2].Draining = true
	for _, c := range []struct {
		name    string
		members []lookup.Member
		bits    int
		digest  string
		owners  string
		heirs   string
	}{
		{"none", nil, 18, "78fa979574cf2fc6", "[65535 65535 65535 65535 65535 65535 65535 65535]", "[65535 65535 65535 65535 65535 65535 65535 65535]"},
		{"A(1)", setA(1), 18, "bff9724e39c040b0", "[0 0 0 0 0 0 0 0]", "[65535 65535 65535 65535 65535 65535 65535 65535]"},
		{"edge", edge, 18, "e3ee76bf5fd05dd2", "[2 1 1 2 1 2 1 1]", "[1 2 2 1 2 1 2 2]"},
		{"A(10)", setA(10), 10, "df9eca6814ac7012", "[2 6 9 5 2 0 7 7]", "[6 2 4 2 6 6 6 9]"},
		{"A(10)", setA(10), 18, "f114daf04608f624", "[2 6 9 5 2 0 7 7]", "[6 2 4 2 6 6 6 9]"},
		{"A(10)", setA(10), 20, "79f20c7fc8a644b2", "[2 6 9 5 2 0 7 7]", "[6 2 4 2 6 6 6 9]"},
		{"B(10)", setB(10), 18, "b213b2838618a9ab", "[2 6 9 5 3 0 9 9]", "[6 8 4 3 8 6 7 7]"},
		{"A(100)", setA(100), 10, "9c4797f3c68bacae", "[97 75 47 11 81 66 47 53]", "[2 57 42 45 38 95 20 37]"},
		{"A(100)", setA(100), 18, "26360b87e0225654", "[97 75 47 11 81 66 47 53]", "[2 57 42 45 38 95 20 37]"},
		{"B(100)", setB(100), 18, "a424723b80c51c06", "[33 75 47 11 38 95 47 53]", "[97 69 60 45 90 66 20 69]"},
		{"A(1000)", setA(1000), 10, "f85043d7a20793f9", "[187 380 251 897 767 154 202 53]", "[410 556 242 672 512 717 720 729]"},
		{"A(1000)", setA(1000), 18, "3bbd3e3ce84150e1", "[187 380 251 897 767 154 202 53]", "[410 556 242 672 512 717 720 729]"},
		{"A(10) drained", drained, 18, "eb16c70c08950a85", "[5 5 8 4 5 0 6 6]", "[6 8 3 1 2 5 5 8]"},
	} {
		tab := table(t, c.bits, c.members)
		owners, heirs := lookup.Indices(tab, 8)
		if tab.Digest() != c.digest || fmt.Sprint(owners) != c.owners || fmt.Sprint(heirs) != c.heirs {
			t.Errorf("%s, S=%d: %s %v %v, want %s %s %s", c.name, c.bits, tab.Digest(), owners, heirs, c.digest, c.owners, c.heirs)
		}
		shuffled := slices.Clone(c.members)
		rand.New(rand.NewPCG(3, 4)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if c.bits == 10 && table(t, c.bits, shuffled).Digest() != c.digest {
			t.Errorf("%s: the order of members matters", c.name)
		}
	}
}

func TestDrainMovesOnlyTheDrainedAndNamesThemPrevious(t *testing.T) {
	before := table(t, 18, setA(10))
	ms := setA(10)
	ms[2].Draining = true
	after, err := before.Update(ms)
	if err != nil {
		t.Fatal(err)
	}
	moved := 0
	for m := range before.Moves(after) {
		moved++
		b, _ := before.At(m.Slot)
		a, _ := after.At(m.Slot)
		if m.From != "n0002" || m.To != b.Heir() || a.Previous() != "n0002" {
			t.Fatalf("slot %d: %+v then %+v", m.Slot, namesOf(b), namesOf(a))
		}
	}
	if moved != 58450 {
		t.Errorf("%d slots moved, want 58450", moved)
	}
	p, err := after.Find("heidi/desk?x@example.com")
	if want := (names{71133, "n0004", "n0007", "n0002", ""}); err != nil || namesOf(p) != want {
		t.Errorf("%+v %v, want %+v", namesOf(p), err, want)
	}
	back, err := after.Update(setA(10))
	if err != nil || back.Digest() != before.Digest() || back.Draining() {
		t.Errorf("resumed: %s %v", back.Digest(), err)
	}
}

// published are the lookups of the vectors: key, normal form, hash, slot at
// S=18, owner and heir in A(10), A(100), A(1000).
var published = []struct {
	key, normal string
	hash        uint64
	slot        uint32
	nodes       [6]string
}{
	{"alice@example.com", "alice@example.com", 0xc21eb846cc96c11e, 198778, [6]string{"n0003", "n0001", "n0092", "n0040", "n0596", "n0631"}},
	{"sip:alice@example.com", "alice@example.com", 0xc21eb846cc96c11e, 198778, [6]string{"n0003", "n0001", "n0092", "n0040", "n0596", "n0631"}},
	{"SIPS:alice@EXAMPLE.com:5061;transport=tls", "alice@example.com", 0xc21eb846cc96c11e, 198778, [6]string{"n0003", "n0001", "n0092", "n0040", "n0596", "n0631"}},
	{"Alice@example.com", "Alice@example.com", 0x57427c9d21e72227, 89353, [6]string{"n0007", "n0006", "n0007", "n0051", "n0118", "n0462"}},
	{"bob@example.com", "bob@example.com", 0x99d51d92e864c38f, 157524, [6]string{"n0006", "n0000", "n0061", "n0006", "n0328", "n0896"}},
	{"sip:bob:secret@example.com?subject=hi@home", "bob@example.com", 0x99d51d92e864c38f, 157524, [6]string{"n0006", "n0000", "n0061", "n0006", "n0328", "n0896"}},
	{"sip:+358-555-1234567;postd=pp22@foo.com;user=phone", "+358-555-1234567;postd=pp22@foo.com", 0x950e424cc685732a, 152633, [6]string{"n0006", "n0007", "n0079", "n0022", "n0891", "n0197"}},
	{"+31208005169@sip.example.net", "+31208005169@sip.example.net", 0x393a7d9db03319cb, 58601, [6]string{"n0006", "n0007", "n0063", "n0081", "n0252", "n0444"}},
	{"sip:%61lice@example.com", "%61lice@example.com", 0xdad534671fe58fa1, 224084, [6]string{"n0001", "n0003", "n0072", "n0075", "n0327", "n0670"}},
	{"carol@Sip.Example.NET.", "carol@sip.example.net", 0x0a318492d3fe56f0, 10438, [6]string{"n0007", "n0000", "n0007", "n0069", "n0007", "n0996"}},
	{"sip:dave@[2001:DB8::1]:5060", "dave@[2001:db8::1]", 0x90b56d8cb8825227, 148181, [6]string{"n0007", "n0009", "n0039", "n0072", "n0732", "n0371"}},
	{"erin@192.0.2.10:5080", "erin@192.0.2.10", 0x7115a76641524028, 115798, [6]string{"n0006", "n0002", "n0024", "n0042", "n0989", "n0175"}},
	{"sip:frank@host_1.example.org", "frank@host_1.example.org", 0x4fc6ed7e93ea91e6, 81691, [6]string{"n0009", "n0006", "n0009", "n0052", "n0881", "n0471"}},
	{"grace.o'hopper@xn--bcher-kva.example", "grace.o'hopper@xn--bcher-kva.example", 0x005828268013585b, 352, [6]string{"n0001", "n0004", "n0049", "n0027", "n0740", "n0492"}},
	{"heidi/desk?x@example.com", "heidi/desk?x@example.com", 0x45775ec1f55ec7b0, 71133, [6]string{"n0002", "n0004", "n0049", "n0043", "n0464", "n0268"}},
	{"200@pbx-3.example.net", "200@pbx-3.example.net", 0x9d131239f443c173, 160844, [6]string{"n0000", "n0002", "n0018", "n0047", "n0277", "n0018"}},
	{"sip:ivan@example.com;lr;maddr=10.0.0.1", "ivan@example.com", 0xab13522398513a73, 175181, [6]string{"n0009", "n0008", "n0034", "n0047", "n0134", "n0182"}},
	{"sip:user0000001@sip.example.net", "user0000001@sip.example.net", 0xcf6c75d19c406715, 212401, [6]string{"n0006", "n0000", "n0010", "n0014", "n0362", "n0215"}},
	{"sip:user9999999@sip.example.net", "user9999999@sip.example.net", 0x70a2b39c24b10a51, 115338, [6]string{"n0003", "n0004", "n0038", "n0072", "n0431", "n0038"}},
	{"\xc3\xa9mile@example.com", "émile@example.com", 0x22743e94734697d1, 35280, [6]string{"n0000", "n0004", "n0044", "n0097", "n0761", "n0534"}},
}

func TestPublishedLookups(t *testing.T) {
	tabs := []*lookup.Table{table(t, 18, setA(10)), table(t, 18, setA(100)), table(t, 18, setA(1000))}
	for _, c := range published {
		n, err := lookup.Normalise(c.key)
		if err != nil || n != c.normal || lookup.Hash(n) != c.hash {
			t.Errorf("Normalise(%q) = %q, %v (%016x), want %q", c.key, n, err, lookup.Hash(n), c.normal)
		}
		for i, tab := range tabs {
			p, err := tab.Find(c.key)
			want := names{c.slot, subjects.NodeID(c.nodes[2*i]), subjects.NodeID(c.nodes[2*i+1]), "", ""}
			if err != nil || namesOf(p) != want {
				t.Errorf("%q: %+v %v, want %+v", c.key, namesOf(p), err, want)
			}
			if r, err := tab.FindRaw(c.normal); err != nil || r != p {
				t.Errorf("FindRaw(%q) = %+v %v", c.normal, r, err)
			}
		}
	}
}
