package subscriber

import (
	"cmp"

	"thor/subjects"
)

// A Profile is what the node that is responsible for Key holds: the profile of an
// account, or whose alias the key is. It holds ha1 digests: it travels only as
// the answer to subjects.ProvisioningRequest or subjects.ProfileRequest, never on
// a subject that others may read, and is not logged.
//
// Revision rises with every change of Key, across deletion and re-creation. An
// older revision never replaces a newer one.
type Profile struct {
	V        int    `json:"v"`
	Key      string `json:"key"` // "user@domain", folded to lower case
	Revision uint64 `json:"revision"`
	Deleted  bool   `json:"deleted,omitempty"`  // there is no such subscriber (any more)
	AliasOf  string `json:"alias_of,omitempty"` // then all below is empty
	// Served tells of a deleted key that its domain has subscribers here: who
	// claims the key is an impostor, not a stranger.
	Served bool `json:"served,omitempty"`

	Username   string            `json:"username,omitempty"`
	Domain     string            `json:"domain,omitempty"`
	HA1        string            `json:"ha1,omitempty"`  // MD5 of user:domain:password, hex
	HA1B       string            `json:"ha1b,omitempty"` // MD5 of user@domain:domain:password, hex
	FirstName  string            `json:"first_name,omitempty"`
	LastName   string            `json:"last_name,omitempty"`
	Email      string            `json:"email,omitempty"`
	Timezone   string            `json:"timezone,omitempty"`
	RPID       string            `json:"rpid,omitempty"`
	Region     string            `json:"region,omitempty"`
	Quickdial  string            `json:"quickdial,omitempty"`
	Prepaid    bool              `json:"prepaid,omitempty"`
	Quota      int               `json:"quota,omitempty"`
	CallLimit  int               `json:"call_limit,omitempty"`
	Timeout    int               `json:"timeout,omitempty"` // no-answer time in seconds
	Owner      int               `json:"owner,omitempty"`
	Customer   int               `json:"customer,omitempty"`
	Reseller   int               `json:"reseller,omitempty"`
	Groups     []string          `json:"groups,omitempty"`
	Aliases    []string          `json:"aliases,omitempty"`    // keys that lead here
	Diversions map[string]string `json:"diversions,omitempty"` // FUNC, FNOL, FBUS, FNOA, FUNV → URI or "<voice-mailbox>"
	Barring    []string          `json:"barring,omitempty"`    // prefixes that may not be called
	Reject     []string          `json:"reject,omitempty"`     // callers, as URIs
	Accept     *Accept           `json:"accept,omitempty"`
	ACL        []string          `json:"acl,omitempty"` // networks, CIDR
	Mailbox    string            `json:"mailbox,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
}

// Accept says whose calls get through, and when.
type Accept struct {
	Persistent []AcceptRule     `json:"persistent,omitempty"`
	Temporary  *TemporaryAccept `json:"temporary,omitempty"`
	// Members are the URIs in the phonebook's groups that the rules name.
	Members map[string][]string `json:"members,omitempty"`
}

// AcceptRule holds between two times of day, on the days of a bit
// mask (Monday is 1).
type AcceptRule struct {
	Start  string   `json:"start"`
	Stop   string   `json:"stop"`
	Days   int      `json:"days"`
	Groups []string `json:"groups"`
}

// TemporaryAccept holds until a time, Unix seconds.
type TemporaryAccept struct {
	Groups []string `json:"groups"`
	Until  int64    `json:"until"`
}

// Encode returns the wire form.
func (p *Profile) Encode() []byte { return subjects.Encode(p) }

func (p *Profile) check() error { return cmp.Or(subjects.CheckVersion(p.V), checkKey(p.Key)) }

// ParseProfile decodes and checks a profile.
func ParseProfile(b []byte) (*Profile, error) { return parse[Profile](b, subjects.MaxView) }
