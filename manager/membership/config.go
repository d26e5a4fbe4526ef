package membership

import (
	"time"

	"thor/subjects"
)

// Config holds the numbers of the rules. The zero value of each field means
// its default; the defaults belong together (see DefaultConfig).
type Config struct {
	Domain string // of the network; Adopt ignores a status of another one. Empty: any

	Dead       time.Duration // silence after which a member is dead: 10 s
	Grace      time.Duration // from a closed connection to death, for a reconnect to show: 500 ms
	StaleGrace time.Duration // the same when the broker ended the connection, as on missing pongs: 1.5 s
	BareGrace  time.Duration // the same when the member does not say which connection it uses: 2.5 s

	PanicHold time.Duration // G3: no removals by silence after a mass silence: 30 s
	PanicStep time.Duration // G3: then one member of a role in this time: 10 s

	DisableDamping bool          // G6 off
	HoldDown       time.Duration // G6: first hold-down, doubling: 30 s
	MaxHoldDown    time.Duration // G6: longest hold-down: 5 min

	DepartedFor time.Duration // how long a departed node's address stays known: 10 min
	MaxMembers  int           // members and remembered ones; more are refused: 20,000

	// Identities holds members to what brokers say of their certificates, see
	// Table.Identity. Without it what they claim stands.
	Identities bool

	// NodeHash is the hash by which the lookup tells nodes apart: of two nodes with
	// the same one, the second is refused. nil: none is.
	NodeHash func(subjects.NodeID) uint64
}

// DefaultConfig is the profile for a network with beats each second and pings
// that find a dead broker within 6 s. Dead must exceed the silence that one
// frozen broker causes; that is what 10 s rests on.
func DefaultConfig() Config {
	return Config{
		Dead:        10 * time.Second,
		Grace:       500 * time.Millisecond,
		StaleGrace:  1500 * time.Millisecond,
		BareGrace:   2500 * time.Millisecond,
		PanicHold:   30 * time.Second,
		PanicStep:   10 * time.Second,
		HoldDown:    30 * time.Second,
		MaxHoldDown: 5 * time.Minute,
		DepartedFor: 10 * time.Minute,
		MaxMembers:  20_000,
	}
}

// Numbers that are not configurable.
const (
	blindMargin      = 2 * time.Second         // G4: blind for Dead and this
	pauseGap         = 2 * time.Second         // G4: a longer gap between calls is a pause
	isolatedAfter    = 3 * time.Second         // G4: no member heard for so long: this observer is cut off
	gapAfter         = 1500 * time.Millisecond // no member heard for so long: beats may have been missed
	missedAfter      = 2 * time.Second         // a member silent for so long has missed a beat
	heartbeat        = time.Second             // Next is never further ahead, so that a pause can be told
	afterglow        = 100 * time.Millisecond  // beats that name no connection may arrive so long after the DISCONNECT that ended it
	closedConnWindow = 10 * time.Second        // what comes through a connection that ended counts for nothing so long; then its broker may have begun to count anew
	dampWindow       = time.Minute             // G6: flaps older than this are forgiven
	dampPoints       = 6                       // G6: three failures, or six graceful restarts, within dampWindow
	failurePoints    = 2                       // G6: what leaving by failure counts
	leavePoints      = 1                       // G6: what leaving on purpose counts; a drain counts nothing
	dampForget       = 10 * time.Minute        // G6: a hold-down so long ago does not double the next
	reasonEvery      = 10 * time.Second        // a reason alone changes the status at most so often
	changeEvery      = time.Second             // a member changes the status at most so often…
	changeBurst      = 5                       // …after so many changes at once
	joinBurst        = 20                      // so many joins
	forgetAfter      = time.Hour               // what is remembered of one who left: its boots, seq, flaps
	revokedHold      = 5 * time.Second         // messages may still be on their way when a node is revoked
	duplicateAge     = 500 * time.Millisecond  // a replaced boot that beats again after this long is no straggler
	duplicateGap     = 30 * time.Second        // a duplicate is told at most so often

	maxRetiredBoots = 8      // remembered per member
	maxRevoked      = 4096   // remembered revoked boots
	maxEvents       = 20_000 // undrained events; the oldest go first
	maxDuplicates   = 1000   // undrained duplicates
)

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	for _, f := range []struct{ v, def *time.Duration }{
		{&c.Dead, &d.Dead},
		{&c.Grace, &d.Grace},
		{&c.StaleGrace, &d.StaleGrace},
		{&c.BareGrace, &d.BareGrace},
		{&c.PanicHold, &d.PanicHold},
		{&c.PanicStep, &d.PanicStep},
		{&c.HoldDown, &d.HoldDown},
		{&c.MaxHoldDown, &d.MaxHoldDown},
		{&c.DepartedFor, &d.DepartedFor},
	} {
		if *f.v <= 0 {
			*f.v = *f.def
		}
	}
	if c.MaxMembers <= 0 {
		c.MaxMembers = d.MaxMembers
	}
	c.MaxHoldDown = max(c.MaxHoldDown, c.HoldDown)
	return c
}

// quiet is the silence after which a member counts as falling silent: about
// three missed beats.
func (c *Config) quiet() time.Duration { return c.Dead / 3 }
