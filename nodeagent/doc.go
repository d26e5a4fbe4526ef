// Package nodeagent joins a machine to the network under its roles and keeps what it
// announces true: it probes the local service of each role, and announces the role up
// or down as the probes say. Package check has the rules: when a role is first
// announced, how many results count, how fast a failure is announced.
//
// What an operator drained stays drained whatever the probes say; the SDK sees to
// that. It does not start, stop or configure services.
package nodeagent
