package overlay

import (
	"thor/overlay/audit"
	"thor/subjects"
)

// auditDrain notes that r drained or resumed role.
func (n *Node) auditDrain(r *Request, role subjects.Role, on bool, err error) {
	e := audit.Entry{Who: string(r.Sender()), Act: audit.Resume, What: audit.Member(role, n.id), Outcome: audit.OK}
	if on {
		e.Act = audit.Drain
	}
	if role == subjects.Agent {
		e.What = "all roles of " + string(n.id)
	}
	if err != nil {
		e.Detail = "a restart will not remember it: " + err.Error()
	}
	e.From = e.Who
	n.cfg.Audit.Write(e)
}
