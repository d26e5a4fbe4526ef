package subjects

import "fmt"

// How far above what is known a mark may be. No history of a network leads
// further in one step, so more is taken for a lie: once accepted, such a mark
// would make every true status look old.
const (
	maxEpochStep      = 1_000_000
	maxGenerationStep = 1 << 40 // a thousand years at thirty a second

	// Claims are the words of others about marks that no status shows any more. The
	// next term is one above them, and must be within a step for those who have
	// heard of no claim: so claims reach half as far, and generations less, since
	// they are used up for ever.
	maxEpochClaim      = maxEpochStep / 2
	maxGenerationClaim = 1 << 30

	// One witness alone is believed so far.
	maxEpochAlone      = 1000
	maxGenerationAlone = 1_000_000
)

// Follows returns a BadMessage unless an observer whose newest mark is o may
// take m: it is Sane and at most one step above.
func (m Mark) Follows(o Mark) error {
	if m.Sane() && m.within(o, maxEpochStep, maxGenerationStep) {
		return nil
	}
	return &BadMessage{CodeAbsurd, fmt.Sprintf("epoch %d generation %d, far above %d %d", m.Epoch, m.Generation, o.Epoch, o.Generation)}
}

// Claimable reports whether m, which nothing but the word of others shows, may be
// believed where o is certain: on the word of one witness alone, or of two.
func (m Mark) Claimable(o Mark, alone bool) bool {
	if alone {
		return m.within(o, maxEpochAlone, maxGenerationAlone)
	}
	return m.within(o, maxEpochClaim, maxGenerationClaim)
}

// Supports reports whether the claims m and o are near enough to be of the same
// history.
func (m Mark) Supports(o Mark) bool { return o.within(m, maxEpochAlone, maxGenerationAlone) }

// within reports whether m is at most so far above o.
func (m Mark) within(o Mark, epochs, generations uint64) bool {
	return (m.Epoch <= o.Epoch || m.Epoch-o.Epoch <= epochs) && (m.Generation <= o.Generation || m.Generation-o.Generation <= generations)
}
