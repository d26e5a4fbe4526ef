package trace

import (
	"encoding/json"
	"fmt"
	"time"

	"thor/subjects"
)

// A Line is one fact. Exactly one of its parts is set.
type Line struct {
	At        Moment     `json:"at_ms"`
	Stall     *Stall     `json:"stall,omitempty"`
	Ready     bool       `json:"ready,omitempty"` // the network is whole for the first time
	Process   *Process   `json:"process,omitempty"`
	Certified *Certified `json:"certified,omitempty"`
	Begin     *Fault     `json:"begin,omitempty"`
	End       *Fault     `json:"end,omitempty"`
	Effect    *Effect    `json:"effect,omitempty"`
	Status    *Status    `json:"status,omitempty"`
	Heard     *Heard     `json:"heard,omitempty"`
	Fresh     *Heard     `json:"fresh,omitempty"` // what an observer without a past was told first
	DNS       *DNS       `json:"dns,omitempty"`
	Owners    *Owners    `json:"owners,omitempty"`
	Op        *Op        `json:"op,omitempty"`
	Finding   *Finding   `json:"finding,omitempty"`
	Resources *Resources `json:"resources,omitempty"`
	Shown     *Shown     `json:"shown,omitempty"`
	Booking   *Booking   `json:"booking,omitempty"`
}

// A Moment is the time since the start of the run. In JSON it is in milliseconds.
type Moment time.Duration

func (m Moment) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "%.3f", float64(m)/float64(time.Millisecond)), nil
}

func (m *Moment) UnmarshalJSON(b []byte) error {
	var ms float64
	if err := json.Unmarshal(b, &ms); err != nil {
		return err
	}
	*m = Moment(ms * float64(time.Millisecond))
	return nil
}

func (m Moment) String() string { return fmt.Sprintf("%.3f s", time.Duration(m).Seconds()) }

// A Stall is a time in which the machine gave a process of the network, or the lab, no
// processor though it wanted one.
type Stall struct {
	Until   Moment `json:"until_ms"`
	Process string `json:"process,omitempty"` // empty: the lab
}

// A Process is one program of the network. It runs from here on.
type Process struct {
	Name    string          `json:"name"` // node/program
	Host    string          `json:"host"`
	Node    subjects.NodeID `json:"node"`
	Program string          `json:"program"`        // broker, manager, dns or node
	Role    subjects.Role   `json:"role"`           // under which it is a member
	Also    []subjects.Role `json:"also,omitempty"` // further roles
}

// entries are its members.
func (p *Process) entries() []entry {
	out := []entry{{p.Role, p.Node}}
	for _, r := range p.Also {
		out = append(out, entry{r, p.Node})
	}
	return out
}

// The programs of a network.
const (
	Broker     = "broker"
	Manager    = "manager"
	NameServer = "dns"
	Agent      = "node"
)

// Certified is what a certificate allows its node.
type Certified struct {
	Node      subjects.NodeID `json:"node"`
	Roles     []subjects.Role `json:"roles"`
	Addresses []string        `json:"addresses"`
}

// A Fault begins or ends. Faults of one number overlap and count as one.
type Fault struct {
	Number int      `json:"number"`
	Kind   string   `json:"kind"`
	On     []string `json:"on,omitempty"`        // what it hits
	Settle Moment   `json:"settle_ms,omitempty"` // more than others until all agree again
}

// An Effect is one act of the lab, noted when it has been done.
type Effect struct {
	Act     Act    `json:"act"`
	Process string `json:"process,omitempty"`
	Host    string `json:"host,omitempty"`
	From    string `json:"from,omitempty"` // host
	To      string `json:"to,omitempty"`   // host
	Port    int    `json:"port,omitempty"` // 0: all
	N       int    `json:"n,omitempty"`
	Jitter  int    `json:"jitter,omitempty"`
}

// An Act is what an Effect did.
type Act string

// The acts of the lab. Those on processes and links decide who is alive and who
// reaches whom; the others must not matter to that.
const (
	Kill         Act = "kill" // SIGKILL
	Term         Act = "term" // SIGTERM: a graceful end
	Freeze       Act = "freeze"
	Continue     Act = "continue"
	Start        Act = "start"
	Stutter      Act = "stutter"      // frozen most of the time
	Smooth       Act = "smooth"       // ends that
	ServiceDown  Act = "service down" // that the agent checks
	ServiceUp    Act = "service up"
	Drain        Act = "drain"
	Resume       Act = "resume"
	Revoke       Act = "revoke"
	Reissue      Act = "reissue"    // after that; the process is started again
	Renew        Act = "renew"      // a new certificate, and SIGHUP
	Authority    Act = "authority"  // the N-th step of its change, and SIGHUP for all
	TwinStart    Act = "twin start" // a second process with the same certificate
	TwinTerm     Act = "twin term"
	TwinKill     Act = "twin kill"
	Build        Act = "build"  // the process runs that of number N from its next start on: 0 this one, 1 the former
	Wipe         Act = "wipe"   // the state directory, while the process is not running
	Damage       Act = "damage" // the newest copy of the status in it
	Cut          Act = "cut"    // packets from From to To, of Port
	Heal         Act = "heal"
	LinkDown     Act = "link down"
	LinkUp       Act = "link up"
	Loss         Act = "loss"  // of N % of all packets; 0 ends it
	Delay        Act = "delay" // of all packets to Host by N ± Jitter ms; 0 ends it
	Rate         Act = "rate"  // of what Host sends: N kbit/s; 0 ends it
	Slow         Act = "slow"  // packets from site From to site To take N ms; 0: as long as usual
	Drop         Act = "drop"  // of N % of the packets from site From to site To; 0 ends it
	Fill         Act = "fill"  // the disk of Host
	Free         Act = "free"
	Files        Act = "files"               // at most N for Process; 0 ends it
	Delete       Act = "delete"              // the bucket Process
	ReplayMember Act = "replay announcement" // an old one of Process, with its certificate
	ReplayStatus Act = "replay status"       // an old tick and delta, with a manager's certificate
)

// A Status is a new view of an observer. Members is empty when the mark is that
// of the observer's line before.
type Status struct {
	Observer   string          `json:"observer"`
	Epoch      uint64          `json:"epoch"`
	Generation uint64          `json:"generation"`
	Manager    subjects.NodeID `json:"manager"`
	Stale      bool            `json:"stale,omitempty"`
	Connected  bool            `json:"connected,omitempty"`
	FromDisk   bool            `json:"from_disk,omitempty"`
	Digest     string          `json:"digest"`
	Members    []Member        `json:"members,omitempty"`
}

// Mark orders statuses.
func (s *Status) Mark() subjects.Mark {
	return subjects.Mark{Epoch: s.Epoch, Generation: s.Generation}
}

// A Member is one entry of a status.
type Member struct {
	Role      subjects.Role   `json:"role"`
	Node      subjects.NodeID `json:"node"`
	State     subjects.State  `json:"state"`
	Addresses []string        `json:"addresses"`
}

// Heard is a mark that was told on a subject.
type Heard struct {
	Observer   string          `json:"observer"`
	Host       string          `json:"host,omitempty"` // of a fresh observer
	Subject    string          `json:"subject,omitempty"`
	Epoch      uint64          `json:"epoch"`
	Generation uint64          `json:"generation"`
	Manager    subjects.NodeID `json:"manager,omitempty"`
}

// Mark orders what was heard.
func (h *Heard) Mark() subjects.Mark {
	return subjects.Mark{Epoch: h.Epoch, Generation: h.Generation}
}

// DNS is what a name server answered to N equal queries, from the time of the line
// to Until, asked on its own host.
type DNS struct {
	Server string   `json:"server"` // process
	Type   string   `json:"type"`   // SRV, A or SOA
	Until  Moment   `json:"until_ms"`
	N      int      `json:"n"`
	Rcode  string   `json:"rcode,omitempty"`
	Error  string   `json:"error,omitempty"`
	Nodes  []string `json:"nodes,omitempty"`
	Serial uint32   `json:"serial,omitempty"`
}

// Owners is the hash of what an observer computed for all keys of the lab from the
// status of that mark.
type Owners struct {
	Observer   string `json:"observer"`
	Epoch      uint64 `json:"epoch"`
	Generation uint64 `json:"generation"`
	Hash       string `json:"hash"`
}

// An Op is an operation on a key of a bucket, noted when it returned.
type Op struct {
	Client   string `json:"client"`
	Bucket   int    `json:"bucket"` // counts the lives of the bucket: revisions begin anew with each
	Key      string `json:"key"`
	Called   Moment `json:"called_ms"`
	Get      bool   `json:"get,omitempty"` // else a compare-and-set
	Expected uint64 `json:"expected,omitempty"`
	Value    string `json:"value,omitempty"` // unique to each write
	Revision uint64 `json:"revision,omitempty"`
	Expires  bool   `json:"expires,omitempty"` // what is stored goes by itself after a while
	Result   string `json:"result"`            // OK, Conflict or Unknown
}

// The results of an Op.
const (
	OK       = "ok"
	Conflict = "conflict"
	Unknown  = "unknown" // stored or not
)

// A Finding is something in a log that must not be there, or a process that ended by
// itself.
type Finding struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// Resources are what a process holds, at rest, at the start and the end of a run.
type Resources struct {
	Process    string `json:"process"`
	PID        int    `json:"pid"`
	Files      int    `json:"files"`
	Goroutines int    `json:"goroutines"`
	Repairs    int    `json:"repairs,omitempty"` // how often it asked for the whole status since its start
}

// Shown is what the monitor, or an operator's command, showed on a host.
type Shown struct {
	Host    string `json:"host"`
	Command string `json:"command"`
	Exit    int    `json:"exit"`
	Epoch   uint64 `json:"epoch,omitempty"`
	// Differs says how the picture differs from the status of the same mark.
	Differs string `json:"differs,omitempty"`
}

// A Booking is a provisioning write that was acknowledged, or one that was found
// in the database at the end.
type Booking struct {
	ID    string `json:"id"`
	Acked bool   `json:"acked,omitempty"`
	Found int    `json:"found,omitempty"` // how often
}
