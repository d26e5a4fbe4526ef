// Package galera tells from what a node of a Galera cluster says of itself whether
// clients may use it. It is pure: Variables and Status name what to ask, Judge
// decides.
//
// The names and values are those of MariaDB 10.11 with galera-4 26.4 (and of Percona
// XtraDB Cluster), https://mariadb.com/kb/en/galera-cluster-status-variables/.
package galera

import (
	"fmt"
	"strings"
)

// Variables are the names of the system variables that Judge reads.
var Variables = []string{
	"wsrep_on", "wsrep_provider", "wsrep_desync", "wsrep_reject_queries", "wsrep_sst_method", "wsrep_sst_donor_rejects_queries",
}

// Status are the names of the status variables that Judge reads. A server that is no
// member of a cluster (see Member) need not be asked.
var Status = []string{
	"wsrep_ready", "wsrep_connected", "wsrep_cluster_status", "wsrep_cluster_state_uuid", "wsrep_local_state",
}

// An Access is what the node is to be used for.
type Access int

// The accesses.
const (
	Writes Access = iota
	ReadsOnly
)

// Reasons why a node must not be used, as they are announced.
const (
	NotReplicating = "does not replicate"                       // wsrep_on is OFF although there is a cluster
	Disconnected   = "not connected to its cluster"             //
	NonPrimary     = "not in the primary component"             // it has lost the majority
	NotReady       = "not ready for work"                       // wsrep_ready says so, whatever for
	Rejecting      = "told to reject queries"                   // by an operator
	Joining        = "receives the state of its cluster"        // or lags behind after that
	Donating       = "gives another node its state"             // and may stand still for it
	Desynced       = "may lag behind its cluster (is desynced)" // by an operator, as for a backup
)

// The values of wsrep_local_state.
const (
	joining = "1"
	donor   = "2" // or desynced
	joined  = "3"
	synced  = "4"
)

const (
	noProvider = "none"
	noCluster  = "00000000-0000-0000-0000-000000000000"
	mostID     = 64 // of a cluster; a server may say anything
)

// A Verdict is what Judge finds. The zero value is a server that may be used and is in
// no cluster.
type Verdict struct {
	// Cluster is the same for all nodes of one cluster, empty where it is not known.
	Cluster string
	// Reason is why the node must not be used, one of the constants; empty: it may.
	Reason string
	// Detail is the variable that says so, for a log.
	Detail string
}

// Member reports whether a server with these system variables is in a Galera cluster.
// A MariaDB without one has all of them too; MySQL has none.
func Member(vars map[string]string) bool {
	p := vars["wsrep_provider"]
	return isOn(vars["wsrep_on"]) || p != "" && !strings.EqualFold(p, noProvider)
}

// Judge decides by system and status variables together. One that is missing speaks
// against nothing: other makes of Galera have fewer.
func Judge(vars map[string]string, a Access) (v Verdict) {
	if !Member(vars) {
		return Verdict{}
	}
	if id := strings.ToLower(vars["wsrep_cluster_state_uuid"]); id != noCluster && len(id) <= mostID {
		v.Cluster = id
	}
	fail := func(reason, variable string) Verdict {
		v.Reason, v.Detail = reason, fmt.Sprintf("%s is %q", variable, vars[variable])
		return v
	}
	is := func(variable, value string) bool { x := vars[variable]; return x == "" || strings.EqualFold(x, value) }
	switch {
	case !is("wsrep_on", "ON"):
		return fail(NotReplicating, "wsrep_on")
	case !is("wsrep_connected", "ON"):
		return fail(Disconnected, "wsrep_connected")
	case !is("wsrep_cluster_status", "Primary"):
		return fail(NonPrimary, "wsrep_cluster_status")
	case !is("wsrep_reject_queries", "NONE"):
		return fail(Rejecting, "wsrep_reject_queries")
	case vars["wsrep_local_state"] == joining, vars["wsrep_local_state"] == joined:
		return fail(Joining, "wsrep_local_state")
	case !is("wsrep_ready", "ON"):
		return fail(NotReady, "wsrep_ready")
	}
	switch s := vars["wsrep_local_state"]; {
	case s == donor && a == Writes && isOn(vars["wsrep_desync"]):
		return fail(Desynced, "wsrep_desync")
	case s == donor && a == Writes && !servesAsDonor(vars):
		return fail(Donating, "wsrep_local_state")
	case s != "" && s != synced && s != donor:
		return fail(NotReady, "wsrep_local_state")
	}
	return v
}

// servesAsDonor reports whether a node says that it goes on serving while it gives its
// state away: it does so by a method that does not block, and does not reject queries
// meanwhile.
func servesAsDonor(vars map[string]string) bool {
	m := strings.ToLower(vars["wsrep_sst_method"])
	nonblocking := m == "mariabackup" || strings.HasPrefix(m, "xtrabackup") || m == "clone"
	return nonblocking && !isOn(vars["wsrep_sst_donor_rejects_queries"])
}

func isOn(s string) bool { return strings.EqualFold(s, "ON") || s == "1" }
