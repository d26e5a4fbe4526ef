// Package push is the provisioning server's part in the network: it pushes
// changes to the nodes that hold a subscriber, answers the nodes' requests for
// profiles, and queries the nodes for what only they know.
//
// A change is in the database before it is pushed, with a note that the push is
// outstanding. The push queue may therefore lose it: repair reads the notes and
// pushes again. A push is acknowledged when every holder of the key (owner, heir,
// remote and a draining previous owner) holds the revision. A holder that does not has
// a backlog, which log, metric and audit report until it has caught up.
//
// Nothing secret is published: a notice carries key and revision. The node
// requests the profile on a subject of its own, and only that node can receive
// the answer.
package push
