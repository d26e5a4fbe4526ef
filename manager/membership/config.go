package membership

import (
	"cmp"
	"time"

	"thor/overlay/setting"
	"thor/subjects"
)

// Config holds the numbers of the rules. The tags say what zero means, see package
// setting; the defaults belong together: they are for a network with beats each
// second and a member that gives its broker up within 3 s and reaches another one.
type Config struct {
	Domain string // of the network; Adopt ignores a status of another one. Empty: any

	// How long a member may be silent before it is gone.
	Dead time.Duration `toml:"dead" default:"10s" range:"8s.." why:"a broker that freezes silences its members for up to 6 s"`
	// How long a member may take to come back through another connection after its
	// connection has ended, before it is gone.
	Grace      time.Duration `toml:"grace" default:"500ms" range:"200ms.." why:"a member needs it to reconnect"`
	StaleGrace time.Duration `default:"1500ms"` // the same when the broker ended the connection, as on missing pongs
	BareGrace  time.Duration `default:"2500ms"` // the same when the member does not say which connection it uses

	PanicHold time.Duration `default:"30s"` // G3: no removals by silence after a mass silence
	PanicStep time.Duration `default:"10s"` // G3: then one member of a role in this time

	// Hold back members that come and go again and again.
	DisableDamping bool          `toml:"damping,not"` // G6
	HoldDown       time.Duration `default:"30s"`      // G6: first hold-down, doubling
	MaxHoldDown    time.Duration `default:"5m"`       // G6: longest hold-down

	// How long the address of a node that left stays in the status and the zone.
	DepartedFor time.Duration `toml:"departed" default:"10m"`
	MaxMembers  int           `default:"50000" range:"1.."` // members and remembered ones; more are refused

	LostFor time.Duration `default:"72h"` // how long a member that failed and did not return is listed as lost
	MaxLost int           // so many at once, the oldest go first; 0: as many as a status may hold

	// Identities holds members to what brokers say of their certificates, see
	// Table.Identity. Without it what they claim stands.
	Identities bool

	// TrustAnnouncedSites lets a site count that a member only announces: its certificate names
	// none. Its holder can then attract traffic and profiles by it.
	TrustAnnouncedSites bool `toml:"trust_announced_sites"`

	// NodeHash is the hash by which the lookup tells nodes apart: of two nodes with
	// the same one, the second is refused. nil: none is.
	NodeHash func(subjects.NodeID) uint64
}

// Numbers that are not configurable.
const (
	blindMargin      = 2 * time.Second         // G4: blind for Dead and this
	suspectMargin    = 1500 * time.Millisecond // G5: the members of a suspected broker have Dead and this
	routeLost        = 3 * time.Second         // in which brokers give up a route that does not answer
	lookMargin       = 4 * time.Second         // members have Dead and this while a broker runs that this observer does not hear, see docs/budget.md
	pauseGap         = 2 * time.Second         // G4: a longer gap between calls of Advance is a pause
	isolatedAfter    = 3 * time.Second         // G4: no member heard for so long: this observer is cut off
	gapAfter         = 1500 * time.Millisecond // no member heard for so long: beats may have been missed
	missedAfter      = 2 * time.Second         // with beats each second: a member silent for so long has missed one
	listenAgain      = 20 * time.Millisecond   // until it is looked again whether anything is heard
	heartbeat        = time.Second             // Next is never further ahead, so that a pause can be told
	afterglow        = 100 * time.Millisecond  // beats that name no connection may arrive so long after the DISCONNECT that ended it
	closedConnWindow = 10 * time.Second        // what comes through a connection that ended counts for nothing so long; then its broker may have begun to count anew
	dampWindow       = time.Minute             // G6: flaps older than this are forgiven
	dampPoints       = 6                       // G6: three failures, or six graceful restarts, within dampWindow
	failurePoints    = 2                       // G6: what leaving by failure counts
	leavePoints      = 1                       // G6: what leaving on purpose counts; a drain counts nothing
	dampForget       = 10 * time.Minute        // G6: a hold-down so long ago does not double the next
	fullPause        = 100 * time.Millisecond  // a full table looks for a record to forget at most so often
	reasonEvery      = 10 * time.Second        // a reason alone changes the status at most so often
	changeEvery      = time.Second             // a member changes the status at most so often…
	rejectEvery      = 10 * time.Second        // one member's refused claims are told at most so often
	lostBrokerFor    = 10 * time.Minute        // after which clients of a lost broker behind a cut route have found another one
	cheapAttrs       = 1 << 10                 // a change with more bytes of attributes costs as many as it has of these
	changeBurst      = 5                       // …after so many changes at once
	joinBurst        = 20                      // so many joins
	incidentFor      = 10 * time.Minute        // G3: what a former manager let go so long ago belongs to its incident
	operatorHold     = 24 * time.Hour          // Hold ends so long after it
	absenceEvery     = 10 * time.Second        // a member changes between lost and held at most so often…
	absenceBurst     = 4                       // …after so many changes at once
	clockMargin      = time.Second             // a time of another manager that differs less is shown as that one made it
	forgetAfter      = time.Hour               // what is remembered of one who left: its boots, seq, flaps
	revokedHold      = 5 * time.Second         // messages may still be on their way when a node is revoked
	duplicateAge     = 500 * time.Millisecond  // a replaced boot that beats again after this long is no straggler
	duplicateGap     = 30 * time.Second        // a duplicate is told at most so often
	duplicateShown   = 10 * time.Second        // the status shows a duplicate so long after its last beat

	maxRetiredBoots = 8      // remembered per member
	maxRevoked      = 4096   // remembered revoked boots
	maxEvents       = 20_000 // undrained events; the oldest go first
	maxDuplicates   = 1000   // undrained duplicates
	maxAlone        = 64     // brokers that say that they are alone
)

func (c Config) withDefaults() Config {
	setting.Fill(&c)
	c.MaxHoldDown = max(c.MaxHoldDown, c.HoldDown)
	c.MaxLost = cmp.Or(c.MaxLost, subjects.MaxLost)
	return c
}
