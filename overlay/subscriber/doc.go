// Package subscriber is what provisioning servers and the nodes that serve
// subscribers say to each other: profiles, notices of their changes, where
// devices are registered, and whom proxies trust. A member that has nothing to do
// with subscribers does not need it.
//
// The messages follow the rules of package subjects, which also has the subjects
// on which they travel, since brokers grant these by certificate.
package subscriber
