package subjects

// VerbReport is a request for what a daemon measures of itself, without a payload: to
// a node agent for the checks of its roles, to a database locator for those of its
// databases, to a name server for its zone and its answers. The Reply's data is a Report.
const VerbReport = "report"

// A Report is what a daemon measures of itself at one moment. Times are spans, so that
// no clock of two hosts is compared.
type Report struct {
	V      int           `json:"v"`
	Checks []CheckReport `json:"checks,omitempty"`
	Zone   *ZoneReport   `json:"zone,omitempty"` // of a name server
}

// A CheckReport is how a check of a service stands.
type CheckReport struct {
	Role       Role       `json:"role"`
	Name       string     `json:"name"` // what is asked of which service
	State      CheckState `json:"state"`
	Reason     string     `json:"reason,omitempty"`      // why it fails
	ReportOnly bool       `json:"report_only,omitempty"` // it decides nothing
	Fault      string     `json:"fault,omitempty"`       // of the newest probe; empty: it passed
	TookMS     float64    `json:"took_ms"`               // of the newest probe
	AgoMS      int64      `json:"ago_ms"`                // since the newest probe ended; 0 while the state is CheckUnknown
}

// A CheckState says what the probes of a check say together.
type CheckState string

// The states of checks.
const (
	CheckUnknown CheckState = "unknown" // not probed yet
	CheckPassing CheckState = "passing"
	CheckFailing CheckState = "failing"
)

// A ZoneReport is what a name server serves.
type ZoneReport struct {
	Serial   uint32 `json:"serial"` // 0 while nothing is served
	Digest   string `json:"digest"` // of the zone's configuration
	AgeMS    int64  `json:"age_ms"` // since a manager last confirmed the status that is served; 0: it is confirmed
	Answered uint64 `json:"answered"`
	Dropped  uint64 `json:"dropped"` // requests left without an answer
}

// Limits of a Report.
const (
	maxReport    = 512 << 10
	maxCheckName = 256
)

// Encode returns the wire form.
func (r *Report) Encode() []byte { return Encode(r) }

// ParseReport decodes and checks the answer to VerbReport.
func ParseReport(b []byte) (*Report, error) {
	var r Report
	if err := Decode(b, maxReport, &r); err != nil {
		return nil, err
	}
	if err := CheckVersion(r.V); err != nil {
		return nil, err
	}
	for i := range r.Checks {
		c := &r.Checks[i]
		if err := checkRoleName(c.Role); err != nil {
			return nil, err
		}
		switch c.State {
		case CheckUnknown, CheckPassing, CheckFailing:
		default:
			return nil, Bad(CodeText, "the state of a check is %q", clip(string(c.State)))
		}
		if !(c.TookMS >= 0) || c.AgoMS < 0 {
			return nil, Bad(CodeRange, "a check took %g ms, %d ms ago", c.TookMS, c.AgoMS)
		}
		c.Name, c.Reason, c.Fault = Printable(c.Name, maxCheckName), Printable(c.Reason, MaxReason), Printable(c.Fault, MaxReason)
	}
	if z := r.Zone; z != nil {
		if z.AgeMS < 0 {
			return nil, Bad(CodeRange, "a zone of a status %d ms old", z.AgeMS)
		}
		z.Digest = Printable(z.Digest, MaxAttrValue)
	}
	return &r, nil
}
