package broker

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"thor/identity"
	"thor/overlay/audit"
)

// auditList notes a revocation list that came in force, or that was refused. A
// list that is known already is no act.
func (b *Broker) auditList(who, from string, changed bool, err error) {
	known := errors.Is(err, identity.ErrCRLRollback) || errors.Is(err, os.ErrNotExist)
	if !changed && (err == nil || known) {
		return
	}
	e := audit.Entry{Who: who, Act: audit.Revoke, What: "revocation list", From: from, Outcome: audit.OK}
	if !changed {
		e.Outcome = audit.Refused
	} else {
		var held []string
		for _, l := range b.cfg.Credentials.Revocations().Lists() {
			held = append(held, fmt.Sprintf("%s number %s with %d revoked", l.Issuer, l.Number, l.Entries))
		}
		e.What += ": " + strings.Join(held, ", ")
	}
	if from == "" {
		e.From = "another broker" // its answer to our question
	}
	if err != nil {
		e.Detail = err.Error()
	}
	b.cfg.Audit.Write(e)
}
