// Package check asks again and again whether services work, and announces what
// follows. The agents of the network share it: each says what it asks (a Prober), what
// it announces (an Announcer), and under which names that is counted.
//
// # What it keeps
//
// A member is announced only once its checks have decided: no client is sent to a
// service that has not answered. A service that fails is down; it leaves at the end of
// Run or when the configuration drops it. The same fault always gives the same reason,
// so that a lasting fault is one change of the network status and not many.
//
// # How fast it is
//
// With probes every Interval that time out after Timeout, a service that dies is
// announced as down within Fall × Interval + Timeout: one interval until the next
// probe begins, and the rest because probes follow each other at half the interval
// while the newest result speaks against what is announced. With Interval 500ms,
// Timeout 500ms and Fall 2 that is 1.5 s, and 0.75 s where the kernel refuses for the
// service.
//
// A check may only report: what it finds is logged, counted and told by Reported, and
// decides nothing.
//
// # What it is not
//
// It knows no kind of service, and it does not decide who is a member: the manager
// does, from what is announced.
package check
