// Package history answers questions about the past from the records of the
// history stream: what the status was at a time, and what happened since. It is
// pure: records are values, reading them is package overlay's.
//
// It never guesses. Deltas name the status that they start from, so that a chain
// of them from a recorded status to the next one proves that none is missing; where
// the chain is broken the answer is an error that says from when to when.
//
// The order of the records is that of their marks, not that of the stream: a
// manager that could not record for a while does so later, when another one may be
// active. Times are those of the managers' clocks, as in the status itself.
package history
