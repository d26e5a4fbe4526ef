package subjects

import "time"

// VerbRestart is a request of an operator to one daemon: to a broker, a manager, a
// database locator, a name server, a provisioning server or a web view in its role, to
// a node agent in the role Agent. It is a RestartRequest; the Reply's data is a RestartReply.
const VerbRestart = "restart"

const maxBoot = 64 // bytes, of announcements too

// A RestartRequest has the process with this boot end, for its supervisor to start
// it again. Without Boot it is a question, and changes nothing: a request that comes
// twice, or late, never ends the successor.
type RestartRequest struct {
	V    int    `json:"v"`
	Boot string `json:"boot,omitempty"`
}

// Encode returns the wire form.
func (r *RestartRequest) Encode() []byte { return Encode(r) }

// ParseRestartRequest decodes and checks a request to restart. An empty payload is a
// question.
func ParseRestartRequest(b []byte) (*RestartRequest, error) {
	r := RestartRequest{V: Version}
	if len(b) == 0 {
		return &r, nil
	}
	if err := Decode(b, MaxAnnouncement, &r); err != nil {
		return nil, err
	}
	if err := CheckVersion(r.V); err != nil {
		return nil, err
	}
	if len(r.Boot) > maxBoot {
		return nil, Bad(CodeRange, "a boot of %d bytes, %d allowed", len(r.Boot), maxBoot)
	}
	return &r, nil
}

// A RestartReply says which process answers, and whether it is about to end.
type RestartReply struct {
	V          int    `json:"v"`
	Boot       string `json:"boot"`
	Version    string `json:"version"`
	Supervised bool   `json:"supervised"` // a supervisor would start it again; else it refuses to end
	Restarts   bool   `json:"restarts,omitempty"`

	// Certificate is when the certificate that the process uses began, and when it ends;
	// nil of an older one.
	Certificate *Validity `json:"certificate,omitempty"`
}

// A Validity is the span in which a certificate is valid.
type Validity struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Answer is what a process with boot and version answers to a request of data, and
// whether it is to end now. Every daemon answers by it.
func (a RestartReply) Answer(data []byte) (reply *Reply, end bool) {
	q, err := ParseRestartRequest(data)
	if err != nil {
		return &Reply{V: Version, Code: ErrorBad, Text: Printable(err.Error(), 512)}, false
	}
	a.V = Version
	switch {
	case q.Boot == "":
	case q.Boot != a.Boot:
		return &Reply{V: Version, Code: ErrorBehind, Text: "the process that was asked has ended already"}, false
	case !a.Supervised:
		return &Reply{V: Version, Code: ErrorFailed, Text: "no supervisor would start it again: it runs neither under systemd nor under thor up, nor with THOR_SUPERVISED=1"}, false
	default:
		a.Restarts = true
	}
	return &Reply{V: Version, Data: Encode(a)}, a.Restarts
}
