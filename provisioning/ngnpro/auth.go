package ngnpro

// Namespaces. A port's own one is Namespace and its name: "urn:AGProjects:NGNPro:Sip".
const (
	Namespace   = "urn:AGProjects:NGNPro"
	ServiceName = "NGNPro"
)

// Auth is the header block with the caller's credentials. A caller may act as the
// party Impersonate if it sees that party.
type Auth struct {
	Username    string `soap:"username"`
	Password    string `soap:"password"`
	Admin       *bool  `soap:"admin"`       // nil: an administrator, if it is the name of one
	Impersonate *int   `soap:"impersonate"` // id of a customer or reseller; 0: none
}
