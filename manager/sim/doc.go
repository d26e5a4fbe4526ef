// Package sim proves by simulation what a network of managers promises. It has
// no code of its own but tests: they play seeded worlds of several managers
// (manager/core with manager/election), of observers (overlay/track), members and
// brokers, on a bus and a bucket that lose, delay, double and reorder, while
// faults come and go, and look at each step whether the invariants hold.
//
// A world is a function of its plan: seed and list of faults. The same plan
// gives the same run. A run that breaks an invariant prints its plan, as small as
// it could be made; written to testdata it is played each time.
//
//	go test ./manager/sim                       seeds 0 to 1999, and testdata
//	go test ./manager/sim -seeds 100000         more of them
//	go test ./manager/sim -seed 4711 -v         one, with all that happens
//	go test ./manager/sim -plan testdata/x.plan a plan
package sim
