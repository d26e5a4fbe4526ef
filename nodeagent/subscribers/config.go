package subscribers

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/nodeagent/subscribers/kept"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/setting"
	"thor/subjects"
)

// Timing and rates that are no configuration.
const (
	bridge       = 2 * time.Second        // another node's are answered so long: neighbours may not have heard yet that it moved
	recall       = 10 * time.Second       // an absence of what never was is believed so long
	syncEvery    = time.Minute            // asks what it may have missed
	syncRetry    = time.Second            // after a failure, doubling…
	syncRetryMax = 30 * time.Second       // …up to this
	readTime     = 2 * time.Second        // of a read that has to ask
	behindTime   = 150 * time.Millisecond // between two nodes' lookup tables after a change
	catchUp      = 500 * time.Millisecond // a request that a proxy with a newer status passed on waits so long for that status
	catchUpEvery = 10 * time.Millisecond
	mostWaiting  = 4 // requests at a time: a proxy has few workers, and the status may stay away
	noticeTime   = 3500 * time.Millisecond
	attemptTime  = time.Second // of one question to one provisioning server
	downTime     = time.Second // no server answered: reads do not try again for so long
	sickTime     = 5 * time.Second
	refillEvery  = 20 * time.Millisecond // of what was handed over…
	refillAtOnce = 10                    // …so many are pulled: 500 a second
)

// A Config says what to keep.
type Config struct {
	Overlay *overlay.Node
	// Role is under which this node serves subscribers.
	Role subjects.Role `default:"sip_proxy"`
	// Greatest number of profiles. A profile takes about 2 KiB. Known absences come
	// on top, up to a tenth of it.
	Max int `toml:"max" unit:"profiles" default:"100000" range:"1.."`
	// How long the profile of a subscriber that another node serves now is kept, in
	// case it comes back. Programs are told the other node from 2 s after the change on.
	Grace time.Duration `toml:"grace" default:"60s" range:"1s..1h"`
	// Kept is where profiles outlive the process, and Restored what was found in it;
	// nil: a restart begins with none.
	Kept     *kept.Log
	Restored []kept.Record
	// Audit receives which profiles were sent to other nodes; nil: none.
	Audit *audit.Log
	// Log receives what an operator would act on. The zero value is silent.
	Log zerolog.Logger
	// Metrics registers thor_subscribers_…; nil: none.
	Metrics prometheus.Registerer
}

func (cfg *Config) check() error {
	ps := setting.Check(cfg)
	if cfg.Overlay == nil {
		ps = append(ps, setting.Problem{Text: "no network"})
	}
	return setting.Join("subscribers", ps)
}
