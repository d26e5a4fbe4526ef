// Package nodeagent joins a machine to the network under its roles and keeps
// what it announces true: it probes the local service of each role, and
// announces the role up or down as the probes say.
//
// # What it keeps
//
// A role is announced only once its service has been probed: nobody is sent to
// a service that has not answered. A service that fails is down, never gone: to
// leave is a wish, which only a person has, or the end of Run. The same fault
// always gives the same reason, so that a lasting fault is one change of the
// network status and not many. What an operator drained stays drained whatever
// the probes say; the SDK sees to that.
//
// # How fast it is
//
// With probes every Interval that time out after Timeout, a service that dies
// is announced as down within Fall × Interval + Timeout: one interval until the
// next probe begins, and the rest because probes follow each other faster while
// a change is in the air. With Interval 500ms, Timeout 500ms and Fall 2 that is
// 1.5 s, and 0.75 s where the kernel refuses for the service.
//
// # What it is not
//
// It does not start, stop or configure services, and it does not decide who is
// a member: the manager does, from what the agent says.
package nodeagent
