// Package ngnpro is the contract of the provisioning interface: the records,
// queries and faults that SOAP clients of AG Projects' NGNPro exchange, as far
// as its public clients show them.
//
// It holds data only: no I/O, no database, no SOAP. What a client may do with a
// record is the business of package provisioning.
package ngnpro
