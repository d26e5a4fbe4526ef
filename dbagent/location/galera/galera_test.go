package galera_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"thor/dbagent/location/galera"
)

const id = "7f7bcd95-ecf2-11f1-b355-f361940a7596"

// healthy is what MariaDB 10.11.19 with galera-4 26.4.23 says when all is well.
func healthy() map[string]string {
	return map[string]string{
		"wsrep_on": "ON", "wsrep_provider": "/usr/lib/galera/libgalera_smm.so", "wsrep_desync": "OFF", "wsrep_reject_queries": "NONE",
		"wsrep_sst_method": "rsync", "wsrep_sst_donor_rejects_queries": "OFF",
		"wsrep_ready": "ON", "wsrep_connected": "ON", "wsrep_cluster_status": "Primary", "wsrep_cluster_state_uuid": id, "wsrep_local_state": "4",
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name         string
		set          string // "name=value …" over healthy; "name=" removes it
		write, read  string // reasons
		detail       string // of write
		otherCluster string // "-": none
	}{
		{name: "synced"},
		{name: "outside the primary component", set: "wsrep_cluster_status=non-Primary wsrep_ready=OFF wsrep_local_state=0", write: galera.NonPrimary, read: galera.NonPrimary, detail: `wsrep_cluster_status is "non-Primary"`},
		{name: "still called ready", set: "wsrep_cluster_status=non-Primary", write: galera.NonPrimary, read: galera.NonPrimary},
		{name: "provider gone", set: "wsrep_connected=OFF wsrep_cluster_status=Disconnected wsrep_ready=OFF", write: galera.Disconnected, read: galera.Disconnected},
		{name: "starts", set: "wsrep_local_state=0 wsrep_ready=OFF wsrep_cluster_state_uuid=00000000-0000-0000-0000-000000000000", write: galera.NotReady, read: galera.NotReady, otherCluster: "-"},
		{name: "not ready", set: "wsrep_ready=OFF", write: galera.NotReady, read: galera.NotReady, detail: `wsrep_ready is "OFF"`},
		{name: "rejects", set: "wsrep_reject_queries=ALL", write: galera.Rejecting, read: galera.Rejecting},
		{name: "rejects and ends connections", set: "wsrep_reject_queries=ALL_KILL", write: galera.Rejecting, read: galera.Rejecting},
		{name: "receives the state", set: "wsrep_local_state=1 wsrep_ready=OFF", write: galera.Joining, read: galera.Joining},
		{name: "catches up", set: "wsrep_local_state=3", write: galera.Joining, read: galera.Joining},
		{name: "state that is not known", set: "wsrep_local_state=5", write: galera.NotReady, read: galera.NotReady},
		{name: "donor that blocks", set: "wsrep_local_state=2", write: galera.Donating},
		{name: "donor by mysqldump", set: "wsrep_local_state=2 wsrep_sst_method=mysqldump", write: galera.Donating},
		{name: "donor that serves", set: "wsrep_local_state=2 wsrep_sst_method=mariabackup"},
		{name: "donor told to reject", set: "wsrep_local_state=2 wsrep_sst_method=mariabackup wsrep_sst_donor_rejects_queries=ON", write: galera.Donating},
		{name: "desynced by an operator", set: "wsrep_local_state=2 wsrep_sst_method=mariabackup wsrep_desync=ON", write: galera.Desynced},
		{name: "replication switched off", set: "wsrep_on=OFF", write: galera.NotReplicating, read: galera.NotReplicating},
		{name: "MariaDB without Galera", set: "wsrep_on=OFF wsrep_provider=none wsrep_ready=OFF wsrep_cluster_status=Disconnected wsrep_connected=OFF", otherCluster: "-"},
		{name: "MySQL", set: "wsrep_on= wsrep_provider= wsrep_ready=OFF", otherCluster: "-"},
		{name: "another make with fewer variables", set: "wsrep_connected= wsrep_cluster_status= wsrep_local_state= wsrep_reject_queries= wsrep_sst_method= wsrep_desync="},
		{name: "another make that is not ready", set: "wsrep_connected= wsrep_cluster_status= wsrep_local_state= wsrep_reject_queries= wsrep_ready=OFF", write: galera.NotReady, read: galera.NotReady},
		{name: "case", set: "wsrep_on=on wsrep_ready=On wsrep_cluster_status=PRIMARY wsrep_reject_queries=none wsrep_cluster_state_uuid=" + strings.ToUpper(id)},
		{name: "long identity", set: "wsrep_cluster_state_uuid=" + strings.Repeat("f", 65), otherCluster: "-"},
	} {
		vars := healthy()
		for kv := range strings.FieldsSeq(c.set) {
			k, v, _ := strings.Cut(kv, "=")
			if vars[k] = v; v == "" {
				delete(vars, k)
			}
		}
		want := id
		if c.otherCluster == "-" {
			want = ""
		}
		w, r := galera.Judge(vars, galera.Writes), galera.Judge(vars, galera.ReadsOnly)
		if w.Reason != c.write || r.Reason != c.read || w.Cluster != want || c.detail != "" && w.Detail != c.detail {
			t.Errorf("%s: %+v for writes, %+v for reads", c.name, w, r)
		}
		if (w.Reason == "") != (w.Detail == "") || strings.ContainsAny(w.Reason+w.Detail, "\n") {
			t.Errorf("%s: %+v is not one line with its cause", c.name, w)
		}
	}
}

// What Judge reads is asked for, and nothing else.
func TestAllIsAskedFor(t *testing.T) {
	asked := slices.Sorted(slices.Values(slices.Concat(galera.Variables, galera.Status)))
	if used := slices.Sorted(maps.Keys(healthy())); !slices.Equal(asked, used) {
		t.Errorf("asked for %v, used are %v", asked, used)
	}
}
