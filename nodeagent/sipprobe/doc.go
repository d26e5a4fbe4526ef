// Package sipprobe asks SIP servers whether they work: by OPTIONS, by the registration
// of a test account, by a test call. The messages are sipgo's, the transport is not: its
// UDP sockets are not connected, so a dead service would look like a slow one, and its
// transaction layer has nothing to add to one question and one answer.
//
// Over TCP and TLS each probe makes a new connection: a server that no longer accepts
// any is not well, however well it treats the old ones.
//
// # What it keeps
//
// A password is read from its file when a server asks for it, and is in no message, log
// line, fault or name of a probe. A test call does not outlast its probe by more than the
// server makes it: what has begun is cancelled, or ended with BYE once it was answered.
package sipprobe
