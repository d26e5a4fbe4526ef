package subjects

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// How often members beat. The interval grows with the number of members, so that
// managers hear 500 beats a second up to 2,500 members, and 1,000 at 5,000.
const (
	beatPairs = 250                    // so many (node, role) pairs add…
	beatStep  = 500 * time.Millisecond // …so much
	LeastBeat = time.Second            // up to 500 pairs
	MostBeat  = 5 * time.Second
	maxBeat   = 60_000 // milliseconds that a receiver takes
)

// BeatEvery is the interval of beats in a status with so many (node, role) pairs.
func BeatEvery(pairs int) time.Duration {
	steps := (pairs + beatPairs - 1) / beatPairs
	return min(max(time.Duration(steps)*beatStep, LeastBeat), MostBeat)
}

// AttrBeats is the attribute by which a manager says which beats it understands.
// ShortBeats is its value in one that understands short ones.
const (
	AttrBeats  = "beats"
	ShortBeats = "short"
)

// BeatsOf is how often members are to beat by s, in milliseconds; 0 if a manager in
// it does not understand short beats: it would also take longer pauses for silence.
func (s *Status) BeatsOf() int {
	ms := s.Roles[Manager]
	for i := range ms {
		if ms[i].Attrs[AttrBeats] != ShortBeats {
			return 0
		}
	}
	pairs := 0
	for _, ms := range s.Roles {
		pairs += len(ms)
	}
	return int(BeatEvery(pairs) / time.Millisecond)
}

// Name sets the hash of a full announcement, by which short beats can stand for it:
// of all that is not different in each of them. Managers compare it and do not
// compute it.
func (a *Announcement) Name() {
	c := *a
	c.Seq, c.Seen, c.Via, c.Hash, c.Moves = 0, nil, "", "", false
	sum := sha256.Sum256(c.Encode())
	a.Hash = hex.EncodeToString(sum[:8])
}

// Short reports whether a stands for a full announcement.
func (a *Announcement) Short() bool { return a.Hash != "" && len(a.Addresses) == 0 && a.State != Leave }

// Shorten is the short beat that stands for the full announcement a.
func (a *Announcement) Shorten() *Announcement {
	return &Announcement{V: a.V, Node: a.Node, Role: a.Role, Boot: a.Boot, Seq: a.Seq, State: a.State, Via: a.Via, Hash: a.Hash}
}

// Restore is the full announcement for which the short beat a stands, as that process would
// have sent it now. full is not changed.
func (a *Announcement) Restore(full *Announcement) *Announcement {
	c := *full
	c.Seq, c.Via, c.Seen, c.State = a.Seq, a.Via, a.Seen, a.State
	return &c
}

// checkShort is the part of Check for a short beat.
func (a *Announcement) checkShort() error {
	switch {
	case a.Plain():
		return Bad(CodeRange, "a short beat without boot or seq")
	case a.State != "" && a.State != Up && a.State != Down && a.State != Draining:
		return Bad(CodeState, "state %q", clip(string(a.State)))
	case a.Reason != "" || a.Priority != 0 || a.Weight != 0 || a.Version != "" || len(a.Attrs) > 0 || a.Site != "":
		return Bad(CodeAddress, "news without addresses")
	case a.Seq > MaxNumber || a.Seen != nil && !a.Seen.Sane():
		return Bad(CodeRange, "a number above 2^53")
	}
	if err := CheckText("boot", a.Boot, 64); err != nil {
		return err
	}
	if err := CheckText("via", a.Via, 128); err != nil {
		return err
	}
	return CheckText("hash", a.Hash, MaxHash)
}

// readShort reads a short beat as Encode writes it, without a decoder: a manager
// reads a thousand of them a second. ok is false for all else, which may be as good.
func readShort(b []byte) (a *Announcement, ok bool) {
	if len(b) > 512 {
		return nil, false
	}
	r := shortReader{rest: b, ok: true}
	a = &Announcement{V: Version}
	r.skip(`{"v":1,"node":"`)
	a.Node = NodeID(r.text())
	r.skip(`,"role":"`)
	a.Role = Role(r.text())
	r.skip(`,"boot":"`)
	a.Boot = r.text()
	r.skip(`,"seq":`)
	a.Seq = r.number()
	r.skip(`,"state":"`)
	a.State = State(r.text())
	if bytes.HasPrefix(r.rest, []byte(`,"via":"`)) {
		r.skip(`,"via":"`)
		a.Via = r.text()
	}
	r.skip(`,"hash":"`)
	a.Hash = r.text()
	r.skip(`}`)
	return a, r.ok && len(r.rest) == 0
}

type shortReader struct {
	rest []byte
	ok   bool
}

func (r *shortReader) skip(s string) {
	if !bytes.HasPrefix(r.rest, []byte(s)) {
		r.rest, r.ok = nil, false
		return
	}
	r.rest = r.rest[len(s):]
}

// text reads up to the closing quote what needs no unquoting.
func (r *shortReader) text() string {
	for i, c := range r.rest {
		switch {
		case c == '"':
			s := string(r.rest[:i])
			r.rest = r.rest[i+1:]
			return s
		case c == '\\' || c < ' ' || c > '~':
			r.rest, r.ok = nil, false
			return ""
		}
	}
	r.rest, r.ok = nil, false
	return ""
}

func (r *shortReader) number() uint64 {
	n := 0
	for n < len(r.rest) && n < 16 && r.rest[n] >= '0' && r.rest[n] <= '9' {
		n++
	}
	x, err := strconv.ParseUint(string(r.rest[:n]), 10, 64)
	if err != nil || n > 1 && r.rest[0] == '0' {
		r.ok = false
	}
	r.rest = r.rest[n:]
	return x
}
