package track

import "thor/subjects"

// The losses of a status have a digest of their own: a manager of an earlier
// version keeps none, and its members tell none. A status is current whether or
// not its losses are known. Losses that are not those that ticks name are fetched
// with the snapshot.

// Full is the full encoding of the status shown.
func (t *Tracker) Full() []byte {
	s, encoded, _ := t.Shown()
	if s == nil {
		return nil
	}
	return s.EncodeFull(encoded)
}

// split takes a full encoding apart. Losses whose digest is not known do not count.
func split(s *subjects.Status, full []byte) (_ *subjects.Status, encoded []byte, losses string) {
	encoded, losses = subjects.SplitFull(full)
	if losses == "" && s.LossesKnown() {
		s = withLosses(s, subjects.Losses{})
	}
	return s, encoded, losses
}

func withLosses(s *subjects.Status, l subjects.Losses) *subjects.Status {
	c := *s
	c.Losses = l
	return &c
}

// noteLosses takes the digest in a tick that names the status held; it is "" if the
// manager keeps no losses. changed reports whether the status differs now.
func (t *Tracker) noteLosses(digest string) (changed bool) {
	t.behind = false
	if digest == t.Losses {
		return false
	}
	var l subjects.Losses
	switch digest {
	case "":
	case subjects.NoLossesDigest: // there is nothing to fetch
		l.ClearLosses()
	default:
		t.behind = true
		return false
	}
	t.Status, t.Losses = withLosses(t.Status, l), digest
	return true
}

// takeLosses takes the losses of an answer with the status held, if they are
// wanted.
func (t *Tracker) takeLosses(s *subjects.Status, digest string) (changed bool) {
	if digest == "" || digest == t.Losses || !t.behind && t.Losses != "" {
		return false
	}
	t.Status, t.Losses, t.behind = withLosses(t.Status, s.Losses), digest, false
	return true
}

// noteSites takes the digest of the sites in a tick that names the status held. It is "" where
// no member has one, and where the manager knows nothing of sites: then those held are of the
// past. changed reports whether the status differs now.
func (t *Tracker) noteSites(digest string) (changed bool) {
	t.sites = digest
	switch {
	case digest == t.Sites:
		return false
	case digest != "":
		t.behind = true
		return false
	}
	t.Status, t.Sites = t.Status.WithoutSites(), ""
	return true
}

// takeSites takes the sites of an answer with the status held, if they are those that ticks
// tell of.
func (t *Tracker) takeSites(s *subjects.Status) (changed bool) {
	digest := s.SitesDigest()
	if t.limited() || digest == t.Sites || digest != t.sites {
		return false
	}
	t.Status, t.Sites, t.behind = withLosses(s, t.Status.Losses), digest, false
	return true
}
