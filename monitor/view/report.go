package view

import (
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// A Want is what the page shown needs beyond the status. The zero value needs nothing.
type Want struct {
	Brokers     bool
	NameServers bool
	Shares      bool            // of the lookup, by role
	Checks      subjects.NodeID // those of a node's service; empty: none
	Role        subjects.Role   // that Checks are about
}

// An Answer is what was found for a Want. What was not wanted is nil.
type Answer struct {
	Of          Want
	At          time.Time // when it was asked; rates are made of the time between two answers
	Brokers     []Broker
	NameServers []NameServer
	Shares      map[subjects.Role]Spread
	Checks      []subjects.CheckReport
	// Why there is none of it; empty: there is.
	BrokersFault, ChecksFault string
}

// A Broker is what one says of itself.
type Broker struct {
	Node           subjects.NodeID
	Clients, Peers int
	In, Out        uint64 // messages since its start
	Slow           uint64 // clients that were cut off since they did not read
	Memory         uint64 // bytes
	Stored, Limit  uint64 // bytes of JetStream on disk
	JetStream      bool
	Leader         subjects.NodeID // of JetStream, as this broker sees it; empty: none
	Took           time.Duration   // until the answer came
}

// A NameServer is what one says of itself.
type NameServer struct {
	Node  subjects.NodeID
	Zone  *subjects.ZoneReport // nil: Fault says why
	Fault string
}

// A Spread is how the slots of a role's lookup are spread over its members.
type Spread struct {
	Slots int
	Of    []Share // by node
	Fault string  // why it is not known; empty: it is
}

// A Share is one member's: the slots that are its own, and those that it would take over.
type Share struct {
	Node        subjects.NodeID
	Weight      int
	Slots, Heir int
}

// find is the share of a node; ok is false if it has none.
func (s *Spread) find(n subjects.NodeID) (Share, bool) {
	i := slices.IndexFunc(s.Of, func(x Share) bool { return x.Node == n })
	if i < 0 {
		return Share{}, false
	}
	return s.Of[i], true
}

// fair is what x would have of all slots if they were spread by weight alone, 0 to 1.
func (s *Spread) fair(x Share) float64 {
	all := 0
	for _, o := range s.Of {
		all += o.Weight
	}
	return float64(x.Weight) / float64(max(1, all))
}

func (s *Spread) part(slots int) float64 { return float64(slots) / float64(max(1, s.Slots)) }

// facts are the newest answers, and what follows from several of them. No map is
// written to after it is in a Model.
type facts struct {
	brokers     map[subjects.NodeID]Broker
	nameServers map[subjects.NodeID]NameServer
	shares      map[subjects.Role]Spread
	checks      []subjects.CheckReport
	checksOf    subjects.NodeID // whose checks these are; empty: none were heard yet
	rates       map[counter]series

	brokersFault, checksFault string
}

// A counter is one of a node that rises.
type counter struct {
	node subjects.NodeID
	what string
}

// The counters of which rates are shown.
const (
	messagesIn  = "in"
	messagesOut = "out"
	answered    = "answered"
)

// with is f after an answer.
func (f facts) with(a *Answer) facts {
	f.rates = maps.Clone(f.rates)
	if f.rates == nil {
		f.rates = make(map[counter]series)
	}
	rate := func(n subjects.NodeID, what string, v uint64) {
		k := counter{n, what}
		f.rates[k] = f.rates[k].add(v, a.At)
	}
	if a.Of.Brokers {
		f.brokers, f.brokersFault = make(map[subjects.NodeID]Broker), a.BrokersFault
		for _, b := range a.Brokers {
			f.brokers[b.Node] = b
			rate(b.Node, messagesIn, b.In)
			rate(b.Node, messagesOut, b.Out)
		}
	}
	if a.Of.NameServers {
		f.nameServers = make(map[subjects.NodeID]NameServer)
		for _, n := range a.NameServers {
			f.nameServers[n.Node] = n
			if n.Zone != nil {
				rate(n.Node, answered, n.Zone.Answered)
			}
		}
	}
	if a.Of.Shares {
		f.shares = a.Shares
	}
	if a.Of.Checks != "" {
		f.checks, f.checksOf, f.checksFault = a.Checks, a.Of.Checks, a.ChecksFault
	}
	return f
}

const maxRates = 24 // that a curve shows

// A series is how fast a counter has risen. Its slice is not written to.
type series struct {
	last  uint64
	at    time.Time
	rates []float64 // per second, the newest last
}

// add takes the counter's value at a time. One that fell was begun anew: it gives no rate.
func (s series) add(v uint64, at time.Time) series {
	next := series{last: v, at: at}
	if took := at.Sub(s.at).Seconds(); !s.at.IsZero() && took > 0 && v >= s.last {
		next.rates = append(slices.Clone(s.rates[max(0, len(s.rates)-maxRates+1):]), float64(v-s.last)/took)
	}
	return next
}

// now is the newest rate; ok is false before there are two values.
func (s series) now() (perSecond float64, ok bool) {
	if len(s.rates) == 0 {
		return 0, false
	}
	return s.rates[len(s.rates)-1], true
}

var levels = []rune("▁▂▃▄▅▆▇█")

// curve draws the rates, the greatest at full height.
func (s series) curve() string {
	if len(s.rates) == 0 {
		return ""
	}
	top := slices.Max(s.rates)
	out := make([]rune, len(s.rates))
	for i, r := range s.rates {
		level := 0
		if top > 0 {
			level = int(r/top*float64(len(levels)-1) + 0.5)
		}
		out[i] = levels[level]
	}
	return string(out)
}
