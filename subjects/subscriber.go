package subjects

import "strings"

// Verbs of requests about subscribers. Whoever asks a provisioning server does
// so on ProvisioningRequest, and is known by the subject. The others go to
// AgentRequest of a node.
const (
	VerbSubscriber = "subscriber" // to a node: a SubscriberNotice; to a provisioning server: a SubscriberRequest
	VerbChanges    = "changes"    // to a provisioning server: a ChangesRequest
	VerbHandover   = "handover"   // from node to node: a HandoverNotice
	VerbStatistics = "statistics" // to a node: how many subscribers are online, by domain
	VerbLocations  = "locations"  // to a node: where subscribers are registered
)

// AttrPort is the attribute by which a member says at which port it serves, in
// decimal: an event server its clients, a name server its questions.
const AttrPort = "port"

// AttrSubscribers is the attribute, with any value, by which a member says that
// its node agent keeps subscribers: others are not told of changes.
const AttrSubscribers = "subscribers"

// ProvisioningRequest is the subject on which asker, in role, asks the
// provisioning server on node. The broker lets only that asker publish it, and
// only that asker hears the answer. A profile travels this way, and on
// ProfileRequest.
func ProvisioningRequest(node NodeID, verb string, role Role, asker NodeID) string {
	return Request(node, ProvisioningServer, verb) + "." + string(role) + "." + string(asker)
}

// A Subscriber is what the node that is responsible for Key keeps: the profile
// of an account, or whose alias the key is. It holds ha1 digests: it travels
// only as the answer to a ProvisioningRequest or a ProfileRequest, never on a
// subject that others may read, and is not logged.
//
// Revision rises with every change of Key, across deletion and re-creation. An
// older revision never replaces a newer one.
type Subscriber struct {
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
	Accept     *SubscriberAccept `json:"accept,omitempty"`
	ACL        []string          `json:"acl,omitempty"` // networks, CIDR
	Mailbox    string            `json:"mailbox,omitempty"`
	Properties map[string]string `json:"properties,omitempty"`
}

// SubscriberAccept says whose calls get through, and when.
type SubscriberAccept struct {
	Persistent []SubscriberAcceptRule `json:"persistent,omitempty"`
	Temporary  *SubscriberTemporary   `json:"temporary,omitempty"`
	// Members are the URIs in the phonebook's groups that the rules name.
	Members map[string][]string `json:"members,omitempty"`
}

// SubscriberAcceptRule holds between two times of day, on the days of a bit
// mask (Monday is 1).
type SubscriberAcceptRule struct {
	Start  string   `json:"start"`
	Stop   string   `json:"stop"`
	Days   int      `json:"days"`
	Groups []string `json:"groups"`
}

// SubscriberTemporary holds until a time, Unix seconds.
type SubscriberTemporary struct {
	Groups []string `json:"groups"`
	Until  int64    `json:"until"`
}

// A SubscriberNotice tells a node that Key changed: the node pulls the profile
// from provisioning server From and answers with a SubscriberHeld once it holds
// Revision or a newer one. It carries nothing that is secret.
type SubscriberNotice struct {
	V        int    `json:"v"`
	Key      string `json:"key"`
	Revision uint64 `json:"revision"`
	Deleted  bool   `json:"deleted,omitempty"`
	From     NodeID `json:"from"`
}

// SubscriberHeld is the data of the answer to a SubscriberNotice.
type SubscriberHeld struct {
	V        int    `json:"v"`
	Key      string `json:"key"`
	Revision uint64 `json:"revision"`
}

// A SubscriberRequest asks a provisioning server for the Subscriber of Key. A
// server that is behind Least (its database is a replica) answers ErrorBehind.
type SubscriberRequest struct {
	V     int    `json:"v"`
	Key   string `json:"key"`
	Least uint64 `json:"least,omitempty"`
}

// A ChangesRequest asks which keys changed after revision Since: a node that
// was cut off finds out what it may have missed.
type ChangesRequest struct {
	V     int    `json:"v"`
	Since uint64 `json:"since"`
}

// ChangedKeys answers a ChangesRequest. All set means that there are too many to
// tell, or that the log does not reach back: everything kept may be old.
type ChangedKeys struct {
	V       int      `json:"v"`
	Keys    []string `json:"keys"`
	Through uint64   `json:"through"` // the revision up to which Keys tells
	All     bool     `json:"all,omitempty"`
	// Revisions are those of Keys, one each; absent: not told.
	Revisions []uint64 `json:"revisions,omitempty"`
}

// A HandoverNotice tells a node that it is responsible for Keys now; it pulls
// them from a provisioning server at its own pace.
type HandoverNotice struct {
	V    int      `json:"v"`
	Keys []string `json:"keys"`
}

// MaxKey is the greatest length in bytes of a subscriber's key, MaxKeys the
// greatest number of keys in one message.
const (
	MaxKey  = 512
	MaxKeys = 1000
)

func checkKey(k string) error {
	if k == "" || len(k) > MaxKey || !strings.Contains(k, "@") {
		return bad(CodeName, "key %q", clip(k))
	}
	return text("key", k, MaxKey)
}

func checkKeys(ks []string) error {
	if len(ks) > MaxKeys {
		return bad(CodeRange, "%d keys, %d allowed", len(ks), MaxKeys)
	}
	for _, k := range ks {
		if err := checkKey(k); err != nil {
			return err
		}
	}
	return nil
}

// parse decodes a message about subscribers into m, and checks its version and keys.
func parse[T any](b []byte, limit int, m *T, v func() int, keys func() []string) (*T, error) {
	if err := decode(b, limit, m); err != nil {
		return nil, err
	}
	if err := checkVersion(v()); err != nil {
		return nil, err
	}
	return m, checkKeys(keys())
}

const maxKeysMessage = MaxKeys*(MaxKey+30) + 1024

// VerbProfile is the verb with which the owner of a subscriber asks the heir's
// node agent for the profile, when no provisioning server answers.
const VerbProfile = "profile"

// ProfileRequest is the subject on which asker, in role, asks heir for a
// SubscriberRequest; the answer is a Subscriber. The broker lets only asker
// publish it.
func ProfileRequest(heir NodeID, role Role, asker NodeID) string {
	return AgentRequest(heir, VerbProfile) + "." + string(role) + "." + string(asker)
}

// Encode returns the wire form.
func (s *Subscriber) Encode() []byte { return encode(s) }

// ParseSubscriber decodes and checks a profile.
func ParseSubscriber(b []byte) (*Subscriber, error) {
	var m Subscriber
	return parse(b, MaxView, &m, func() int { return m.V }, func() []string { return []string{m.Key} })
}

// Encode returns the wire form.
func (n *SubscriberNotice) Encode() []byte { return encode(n) }

// ParseSubscriberNotice decodes and checks a notice.
func ParseSubscriberNotice(b []byte) (*SubscriberNotice, error) {
	var m SubscriberNotice
	if _, err := parse(b, MaxAnnouncement, &m, func() int { return m.V }, func() []string { return []string{m.Key} }); err != nil {
		return nil, err
	}
	if _, err := ParseNodeID(string(m.From)); err != nil {
		return nil, bad(CodeName, "%v", err)
	}
	return &m, nil
}

// Encode returns the wire form.
func (h *SubscriberHeld) Encode() []byte { return encode(h) }

// ParseSubscriberHeld decodes and checks an acknowledgement.
func ParseSubscriberHeld(b []byte) (*SubscriberHeld, error) {
	var m SubscriberHeld
	return parse(b, MaxAnnouncement, &m, func() int { return m.V }, func() []string { return []string{m.Key} })
}

// Encode returns the wire form.
func (r *SubscriberRequest) Encode() []byte { return encode(r) }

// ParseSubscriberRequest decodes and checks a request for a profile.
func ParseSubscriberRequest(b []byte) (*SubscriberRequest, error) {
	var m SubscriberRequest
	return parse(b, MaxAnnouncement, &m, func() int { return m.V }, func() []string { return []string{m.Key} })
}

// Encode returns the wire form.
func (r *ChangesRequest) Encode() []byte { return encode(r) }

// ParseChangesRequest decodes and checks a request for changes.
func ParseChangesRequest(b []byte) (*ChangesRequest, error) {
	var m ChangesRequest
	return parse(b, MaxAnnouncement, &m, func() int { return m.V }, func() []string { return nil })
}

// Encode returns the wire form.
func (c *ChangedKeys) Encode() []byte { return encode(c) }

// ParseChangedKeys decodes and checks a list of changes.
func ParseChangedKeys(b []byte) (*ChangedKeys, error) {
	var m ChangedKeys
	return parse(b, maxKeysMessage, &m, func() int { return m.V }, func() []string { return m.Keys })
}

// Encode returns the wire form.
func (h *HandoverNotice) Encode() []byte { return encode(h) }

// ParseHandoverNotice decodes and checks a hand-over.
func ParseHandoverNotice(b []byte) (*HandoverNotice, error) {
	var m HandoverNotice
	return parse(b, maxKeysMessage, &m, func() int { return m.V }, func() []string { return m.Keys })
}
