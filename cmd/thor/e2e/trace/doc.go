// Package trace is the record of a run of the lab, and the judgement of it.
//
// A trace is a file of JSON lines. The lab writes what it did to the network
// (faults and effects), what observers saw (statuses, DNS answers, writes to the
// buckets) and what was left at the end (logs, resources). All times are of the
// one monotonic clock of the machine, so that their order is exact.
//
// Check decides by the trace alone whether the invariants I1 to I12 held. It takes
// from the effects which processes lived and who could reach whom, never from what
// thor said about it. Figures takes the measurements from the same lines. Both are
// pure.
package trace
