package ngnpro

// Namespaces. A port's own one is Namespace and its name: "urn:AGProjects:NGNPro:Sip".
const (
	Namespace   = "urn:AGProjects:NGNPro"
	ServiceName = "NGNPro"
)

// Auth is the header block that says who calls. An administrator may act as the
// party Impersonate; anybody else may do so with what it sees.
type Auth struct {
	Username    string `soap:"username"`
	Password    string `soap:"password"`
	Admin       *bool  `soap:"admin"`       // nil: the administrator, if the name is his
	Impersonate *int   `soap:"impersonate"` // id of a customer or reseller; 0: nobody
}
