package plan

import (
	"time"

	"thor/subjects"
)

// Patience is how long an agent leaves rows alone that are of a later status than
// its own: it will have that status in a moment.
const Patience = 3 * time.Second

// MayWrite reports whether an agent may write the rows of the status own where the
// database has those of stored. One that no manager confirms never goes back; one
// that is confirmed does after Patience, when the later status is that of a network
// that is no more.
func MayWrite(own, stored subjects.Mark, confirmed bool, behind time.Duration) bool {
	return !stored.After(own) || confirmed && behind >= Patience
}
