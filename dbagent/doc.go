// Package dbagent is the locator: it checks the central database and tells the
// network, under the role thor_database, where it is and with which priority.
//
// # What it keeps
//
// What is announced as up has accepted a login moments ago, with the user, on the
// database and for the purpose that the announcement names. A database that
// stops doing so is down, with a reason that stays the same while the fault
// does. The password is in no announcement, log line, error or metric: the
// announced location reads mysql://user:xxxxxx@host/name, and the whole of it
// goes only to members of the roles that the configuration clears, in reply to
// a request of theirs.
//
// # Several databases
//
// A node is one member of a role, so a locator announces one database: the
// most preferred of its list that passes its checks, with that one's priority,
// address and location. When it fails the next takes its place, and gives it
// back when the first is well again. Clients choose between locators
// by location.Choose; how many databases stand behind one does not matter to them.
//
// A node of a Galera cluster passes only if package galera finds that it may be used,
// and its cluster is announced with it: each node has a locator of its own, and a
// client may take another one of the cluster for one that it cannot reach.
//
// # What it is not
//
// It promotes no replica and moves no data. Of two databases that both take
// writes it cannot tell which one should: give them different priorities, and
// make the server refuse writes where they are not wanted (super_read_only).
package dbagent
