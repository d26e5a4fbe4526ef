package subscribers

import (
	"fmt"
	"net/netip"
	"strings"

	"thor/nodeagent/subscribers/screening"
)

// What a proxy does next with a request.
const (
	doRefuse = "refuse"
	doSave   = "save"   // the registration
	doPass   = "pass"   // on to another proxy
	doServe  = "serve"  // ring where the callee is registered
	doDivert = "divert" // ask again, for the URI
	doRelay  = "relay"  // to another network, as its URI says
	doRoute  = "route"  // it comes from a proxy and names its way
)

// A step is what a proxy is told to do. If it has an HA1 the sender has to prove
// itself first.
type step struct {
	do      string
	next    []netip.Addr // of proxies: to pass it to, one after the other; or that may know the callee's devices
	hop     hop          // to tell them
	uri     string       // for the request; "" as it is
	refusal *screening.Refusal

	user, realm, ha1 string

	key     string // of the callee
	timeout int    // seconds to ring
	diverts map[string]string
	divert  hop // to ask with, for who is diverted to
	proxy   bool
}

// reasons are the diversions that a proxy applies itself, in the order of lines.
var reasons = []string{"FNOL", "FBUS", "FNOA", "FUNV"}

// text is the form for scripts: lines at fixed places, more may follow some day.
//
//	0 what to do     4 status and reason   8 seconds to ring
//	1 addresses      5 user                9 … 12 diversions FNOL, FBUS, FNOA, FUNV
//	2 Thor-Hop       6 realm               13 hop of a diverted call
//	3 URI            7 ha1                 14 key of the callee
//	                                       15 "proxy" if a proxy of the network sent it
func (s *step) text() string {
	lines := make([]string, 0, 16)
	var next []string
	for _, a := range s.next {
		if a.Is6() {
			next = append(next, "["+a.String()+"]")
		} else {
			next = append(next, a.String())
		}
	}
	refusal := ""
	if s.refusal != nil {
		refusal = fmt.Sprintf("%d %s", s.refusal.Code, s.refusal.Reason)
	}
	lines = append(lines, s.do, strings.Join(next, ","), s.hop.String(), s.uri, refusal, s.user, s.realm, s.ha1)
	lines = append(lines, fmt.Sprint(s.timeout))
	for _, r := range reasons {
		lines = append(lines, s.diverts[r])
	}
	proxy := ""
	if s.proxy {
		proxy = "proxy"
	}
	return strings.Join(append(lines, s.divert.String(), s.key, proxy), "\n") + "\n"
}

// refused is the step that refuses, after what the sender has to prove.
func (s *step) refused(r *screening.Refusal) *step {
	s.do, s.refusal = doRefuse, r
	return s
}

// Refusals of the way, not of a profile.
var (
	errNotFound   = &screening.Refusal{Code: 404, Reason: "Not Found"}
	errImpostor   = &screening.Refusal{Code: 403, Reason: "Not Your Name"}
	errRelay      = &screening.Refusal{Code: 403, Reason: "Relaying Denied"}
	errPeer       = &screening.Refusal{Code: 403, Reason: "Peer Blocked"}
	errLoop       = &screening.Refusal{Code: 482, Reason: "Too Many Diversions"}
	errMoves      = &screening.Refusal{Code: 503, Reason: "Owner Changes"}
	errNoPassword = &screening.Refusal{Code: 403, Reason: "No Password"}
)
