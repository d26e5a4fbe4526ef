package store

import (
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"strconv"
	"time"

	"thor/provisioning/ngnpro"
)

// A profile is what sip_accounts_data.profile holds. Others keep keys of their
// own in it, such as OpenXCAP its documents: they stay as they are.
type profile struct {
	Password   string            `json:"password,omitempty"` // if it is kept in clear
	HA1        string            `json:"ha1"`
	HA1B       string            `json:"ha1b"`
	SHA256     string            `json:"ha1_sha256,omitempty"`
	SHA512     string            `json:"ha1_sha512t256,omitempty"`
	Timezone   string            `json:"timezone"`
	RPID       string            `json:"rpid"`
	Region     string            `json:"region"`
	Quickdial  string            `json:"quickdial"`
	Groups     []string          `json:"groups"`
	Prepaid    bool              `json:"prepaid"`
	Quota      int               `json:"quota"`
	CallLimit  int               `json:"call_limit"`
	Timeout    int               `json:"timeout"`
	ACL        []network         `json:"acl,omitempty"`
	Properties []property        `json:"properties,omitempty"`
	Diversions map[string]string `json:"diversions,omitempty"`
	Barring    []string          `json:"barring,omitempty"`
	Reject     []string          `json:"reject,omitempty"`
	Persistent []acceptRule      `json:"accept,omitempty"`
	Temporary  *temporary        `json:"accept_temporary,omitempty"`

	others map[string]json.RawMessage
}

// ours are the keys of profile.
var ours = []string{
	"password", "ha1", "ha1b", "ha1_sha256", "ha1_sha512t256", "timezone", "rpid", "region", "quickdial", "groups", "prepaid", "quota",
	"call_limit", "timeout", "acl", "properties", "diversions", "barring", "reject", "accept", "accept_temporary",
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type network struct {
	IP   string  `json:"ip"`
	Mask int     `json:"mask"`
	Tag  *string `json:"tag,omitempty"`
}

type acceptRule struct {
	Start  string   `json:"start"`
	Stop   string   `json:"stop"`
	Groups []string `json:"groups"`
	Days   int      `json:"days"`
}

type temporary struct {
	Groups []string `json:"groups"`
	Until  int64    `json:"until"` // Unix seconds
}

// expired reports whether the rule holds no more.
func (r *temporary) expired(now time.Time) bool { return now.Unix() >= r.Until }

// errProfile is the error of a profile that others wrote.
var errProfile = errors.New("the profile of an account is not the JSON it should be")

func parseProfile(b []byte) (*profile, error) {
	p := &profile{}
	if json.Unmarshal(b, &p.others) != nil || json.Unmarshal(b, p) != nil {
		return nil, errProfile
	}
	for _, k := range ours {
		delete(p.others, k)
	}
	return p, nil
}

// Bounds of what a node is sent of one account, which is refused above 512 KiB.
const (
	maxProfile = 128 << 10 // bytes
	maxAliases = 500
)

// encode is the profile as it is kept, with what others keep in it, which has no
// bound here.
func (p *profile) encode() (string, error) {
	b, err := json.Marshal(p)
	if err == nil && len(b) > maxProfile {
		err = ngnpro.ErrLimit.With("an account is limited to %d KiB of groups, rules, entries and properties", maxProfile>>10)
	}
	if err != nil || len(p.others) == 0 {
		return string(b), err
	}
	all := make(map[string]json.RawMessage)
	if err := json.Unmarshal(b, &all); err != nil {
		return "", err
	}
	maps.Copy(all, p.others)
	b, err = json.Marshal(all)
	return string(b), err
}

// cidr is the network as a node reads it.
func (n network) cidr() string {
	a, err := netip.ParseAddr(n.IP)
	if err != nil {
		return n.IP + "/" + strconv.Itoa(n.Mask) // it was checked when it was set
	}
	return netip.PrefixFrom(a, n.Mask).Masked().String()
}
