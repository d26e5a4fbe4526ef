package join

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"thor/dbagent/location"
	"thor/nodeagent/local"
	"thor/overlay"
	"thor/subjects"
)

// A databaseLine is the location of the central database, its password included.
type databaseLine struct {
	Node subjects.NodeID `json:"node"` // of the locator
	URI  string          `json:"uri"`
	Mode location.Mode   `json:"mode"`
}

// database tells where the central database is, to a program of a role of this node that
// is cleared for it. ?mode=read-only takes a replica too.
func (s *Service) database(w http.ResponseWriter, r *http.Request) {
	role := subjects.Role(r.PathValue("role"))
	mode := location.ReadWrite
	if m := r.URL.Query().Get("mode"); m != "" {
		mode = location.Mode(m)
	}
	answer := func(status int, text string) {
		s.log.Info().Str("role", subjects.Printable(string(role), 64)).Int("pid", local.PeerPID(r.Context())).Str("reason", text).Msg("database not told")
		local.WriteError(w, r, status, text)
	}
	switch {
	case !s.agent.Has(role):
		answer(http.StatusNotFound, fmt.Sprintf("role %s is not one of this node", subjects.Printable(string(role), 64)))
		return
	case mode != location.ReadWrite && mode != location.ReadOnly:
		answer(http.StatusBadRequest, "mode is read-write or read-only")
		return
	}
	d, status, err := s.locate(r.Context(), role, mode)
	if err != nil {
		answer(status, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(subjects.Encode(d), '\n')) // who hung up needs no answer
}

// locate asks the locator of the best database in the name of role.
func (s *Service) locate(ctx context.Context, role subjects.Role, mode location.Mode) (d databaseLine, status int, err error) {
	v := s.network.View()
	if v.Status == nil {
		return d, http.StatusServiceUnavailable, errors.New("the network's status is not known yet")
	}
	m, ok := location.Choose(v.Status.Roles[subjects.Database], mode)
	if !ok {
		return d, http.StatusServiceUnavailable, fmt.Errorf("no database for %s is announced", mode)
	}
	reply, err := s.network.Ask(ctx, subjects.Credentials(m.Node, role, s.network.ID()), nil)
	switch {
	case errors.Is(err, overlay.ErrForbidden), err == nil && reply.Code == subjects.ErrorForbidden:
		return d, http.StatusForbidden, fmt.Errorf("role %s is not cleared for the database: see [database] cleared of %s", role, m.Node)
	case err != nil:
		return d, http.StatusServiceUnavailable, fmt.Errorf("ask %s for the database: %w", m.Node, err)
	case reply.Code != "":
		return d, http.StatusServiceUnavailable, fmt.Errorf("ask %s for the database: %s", m.Node, subjects.Printable(reply.Text, 200))
	}
	dsn, is, err := location.ParseCredentials(reply.Data)
	if err != nil {
		return d, http.StatusServiceUnavailable, fmt.Errorf("answer of %s: %w", m.Node, err)
	}
	return databaseLine{m.Node, dsn.Reveal(), is}, http.StatusOK, nil
}
