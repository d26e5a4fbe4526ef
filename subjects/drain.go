package subjects

import "time"

// A DrainRequest is the payload of VerbDrain. None at all, and one without v, stand for
// the zero value: drained until it is resumed, without a reason.
type DrainRequest struct {
	V      int    `json:"v"`
	Reason string `json:"reason,omitempty"` // for people; up to MaxDrainReason bytes
	For    int    `json:"for,omitempty"`    // seconds after which the drain ends by itself; 0: never
}

// Limits of a DrainRequest.
const (
	MaxDrainReason = 100
	MaxDrainFor    = 30 * 24 * time.Hour
)

// Duration is For.
func (d *DrainRequest) Duration() time.Duration { return time.Duration(d.For) * time.Second }

// Encode returns the wire form.
func (d *DrainRequest) Encode() []byte { return Encode(d) }

// ParseDrainRequest decodes and checks the payload of VerbDrain.
func ParseDrainRequest(b []byte) (*DrainRequest, error) {
	d := DrainRequest{V: Version}
	if len(b) > 0 {
		if err := Decode(b, MaxAnnouncement, &d); err != nil {
			return nil, err
		}
	}
	return &d, d.Check()
}

// Check returns a BadMessage if d breaks a rule of the wire.
func (d *DrainRequest) Check() error {
	if err := CheckVersion(d.V); err != nil {
		return err
	}
	if d.For < 0 || d.For > int(MaxDrainFor/time.Second) {
		return Bad(CodeRange, "a drain for %d s: 1 s to %d days, or 0 for no end", d.For, MaxDrainFor/(24*time.Hour))
	}
	return CheckText("reason", d.Reason, MaxDrainReason)
}

// Work answers VerbWork, which has no payload: what the services of a node's roles
// carry now. A role of which nothing is counted is absent.
type Work struct {
	V     int              `json:"v"`
	Roles map[Role][]Count `json:"roles"`
}

// A Count is how much of one kind a service carries.
type Count struct {
	What  string `json:"what"`            // such as Dialogs
	N     int    `json:"n"`               // 0 also if there is a Fault
	Fault string `json:"fault,omitempty"` // why it cannot be counted
}

// Kinds of Count.
const (
	Dialogs  = "dialogs"  // calls of a SIP proxy
	Sessions = "sessions" // media sessions of a relay
	Channels = "channels" // of an Asterisk
	Tasks    = "tasks"    // what a program that joined a role says
)

const maxWork = 64 << 10

// Encode returns the wire form.
func (w *Work) Encode() []byte { return Encode(w) }

// ParseWork decodes and checks the answer to VerbWork.
func ParseWork(b []byte) (*Work, error) {
	var w Work
	if err := Decode(b, maxWork, &w); err != nil {
		return nil, err
	}
	if err := CheckVersion(w.V); err != nil {
		return nil, err
	}
	for r, cs := range w.Roles {
		if err := checkRoleName(r); err != nil {
			return nil, err
		}
		for i, c := range cs {
			cs[i].What, cs[i].Fault = Printable(c.What, 64), Printable(c.Fault, MaxReason)
			if c.N < 0 {
				return nil, Bad(CodeRange, "%d %s", c.N, clip(c.What))
			}
			if len(c.What) > 64 || len(c.Fault) > MaxReason {
				return nil, Bad(CodeText, "what is counted, or its fault, is too long")
			}
		}
	}
	return &w, nil
}
