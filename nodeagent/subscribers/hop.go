package subscribers

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"thor/subjects"
)

// The stages of a request on its way over the proxies.
const (
	stageOutside  = ""         // from a phone, a trusted peer or a stranger
	stageRegister = "register" // to the node that keeps the registration
	stageCaller   = "caller"   // to the caller's node, which authenticates
	stageCallee   = "callee"   // to the callee's node, which screens, diverts and rings
	stageFind     = "find"     // to where the callee may have registered before
	stageDivert   = "divert"   // no proxy's: a diverted call at the node that diverts it
)

// A hop is what one proxy tells the next, in the header Thor-Hop. It counts only
// if it comes from a proxy of the network.
type hop struct {
	stage   string
	heir    bool          // the owner does not answer
	account string        // whose credentials the caller has to have
	caller  string        // the key of the caller
	known   bool          // the caller is a subscriber or may reach other networks
	origin  netip.Addr    // from where the request came to the network
	diverts int           // how often it was diverted
	at      subjects.Mark // of the status by which the proxy chose this node; zero: of a proxy before this form
}

func (h hop) String() string {
	var b strings.Builder
	b.WriteString(h.stage)
	if h.heir {
		b.WriteString(";heir")
	}
	add := func(name, value string) {
		if value != "" {
			b.WriteString(";" + name + "=" + url.QueryEscape(value))
		}
	}
	add("account", h.account)
	add("caller", h.caller)
	if h.known {
		add("known", "1")
	}
	if h.origin.IsValid() {
		add("origin", h.origin.String())
	}
	if h.diverts > 0 {
		add("diverts", strconv.Itoa(h.diverts))
	}
	if !h.at.IsZero() {
		add("at", fmt.Sprintf("%d.%d", h.at.Epoch, h.at.Generation))
	}
	return b.String()
}

// parseHop reads a header. "1" and "heir" are those of proxies before this form:
// they say that the request is where it belongs.
func parseHop(s, old string) (h hop, ok bool) {
	parts := strings.Split(strings.ReplaceAll(s, " ", ""), ";")
	switch h.stage = parts[0]; h.stage {
	case stageOutside:
		return h, len(parts) == 1
	case "1":
		h.stage = old
	case "heir":
		h.stage, h.heir = old, true
	case stageRegister, stageCaller, stageCallee, stageFind, stageDivert:
	default:
		return hop{}, false
	}
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(p, "=")
		value, err := url.QueryUnescape(value)
		if err != nil {
			return hop{}, false
		}
		switch name {
		case "heir":
			h.heir = true
		case "account":
			h.account = value
		case "caller":
			h.caller = value
		case "known":
			h.known = value == "1"
		case "origin":
			h.origin, err = netip.ParseAddr(value)
		case "diverts":
			h.diverts, err = strconv.Atoi(value)
		case "at":
			h.at, err = parseMark(value)
		}
		if err != nil {
			return hop{}, false
		}
	}
	return h, true
}

// parseMark reads "EPOCH.GENERATION".
func parseMark(s string) (m subjects.Mark, err error) {
	epoch, generation, _ := strings.Cut(s, ".")
	if m.Epoch, err = strconv.ParseUint(epoch, 10, 64); err != nil {
		return m, err
	}
	m.Generation, err = strconv.ParseUint(generation, 10, 64)
	return m, err
}
