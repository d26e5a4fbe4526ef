package subjects

// Verbs of requests to the active manager in its role, by which an operator
// decides what the manager cannot know. Each changes something, so that its
// subject ends in its sender. A manager that is not active answers ErrorBehind.
const (
	VerbForget  = "forget"  // a ForgetRequest; the Reply's data is a ForgetReply
	VerbConfirm = "confirm" // a GuardRequest: failed members that guards hold are gone; the Reply's data is a GuardReply
	VerbHold    = "hold"    // a GuardRequest: failed members stay until that is confirmed; the Reply's data is a GuardReply
)

// A ForgetRequest ends losses of Node: that under Role, or all of them if Role is
// empty.
type ForgetRequest struct {
	V    int    `json:"v"`
	Node NodeID `json:"node"`
	Role Role   `json:"role,omitempty"`
}

// Encode returns the wire form.
func (r *ForgetRequest) Encode() []byte { return Encode(r) }

// ParseForgetRequest decodes and checks a request to forget losses.
func ParseForgetRequest(b []byte) (*ForgetRequest, error) {
	var r ForgetRequest
	if err := Decode(b, MaxAnnouncement, &r); err != nil {
		return nil, err
	}
	if err := CheckVersion(r.V); err != nil {
		return nil, err
	}
	if _, err := ParseNodeID(string(r.Node)); err != nil {
		return nil, Bad(CodeName, "%v", err)
	}
	if r.Role == "" {
		return &r, nil
	}
	return &r, checkRoleName(r.Role)
}

// A ForgetReply says in which roles the node is not lost any more, sorted.
type ForgetReply struct {
	V     int    `json:"v"`
	Roles []Role `json:"roles"`
}

// A GuardRequest is about the members of Role that a guard holds, or those of all
// roles if Role is empty.
type GuardRequest struct {
	V    int  `json:"v"`
	Role Role `json:"role,omitempty"`
}

// Encode returns the wire form.
func (r *GuardRequest) Encode() []byte { return Encode(r) }

// ParseGuardRequest decodes and checks a decision about held members. An empty
// payload is about all roles.
func ParseGuardRequest(b []byte) (*GuardRequest, error) {
	r := GuardRequest{V: Version}
	if len(b) == 0 {
		return &r, nil
	}
	if err := Decode(b, MaxAnnouncement, &r); err != nil {
		return nil, err
	}
	if err := CheckVersion(r.V); err != nil {
		return nil, err
	}
	if r.Role == "" {
		return &r, nil
	}
	return &r, checkRoleName(r.Role)
}

// A GuardReply says how many members a decision about held ones concerned.
type GuardReply struct {
	V       int `json:"v"`
	Members int `json:"members"`
}
