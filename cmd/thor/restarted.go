package main

import (
	"context"
	"os"
	"time"

	"thor/cmd/thor/internal/up"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/subjects"
)

// A daemonKind is a daemon that operators restart: by the role in which it is asked.
type daemonKind struct {
	name string        // its subcommand
	role subjects.Role // Agent for node agents
}

// announces reports whether a member of role r is announced by such a daemon.
func (k daemonKind) announces(r subjects.Role) bool {
	return r == k.role || k.role == subjects.Agent && !r.Infrastructure() && r != subjects.ProvisioningServer
}

// daemonKinds are in the order in which they are restarted: what others need goes
// first, as in an upgrade.
var daemonKinds = []daemonKind{
	{"broker", subjects.EventServer},
	{"manager", subjects.Manager},
	{"provisioning", subjects.ProvisioningServer},
	{"database", subjects.Database},
	{"dns", subjects.DNSManager},
	{"node", subjects.Agent},
	{"web", subjects.Monitor},
}

// answerPause is for the answer to leave before the process ends. An answer that is
// lost only costs a question.
const answerPause = 200 * time.Millisecond

// supervised reports that a supervisor would start this process again.
func supervised() bool {
	return os.Getenv("NOTIFY_SOCKET") != "" || os.Getenv(up.SupervisedEnv) == "1"
}

// answerRestarts answers the requests to restart of a daemon that has a connection
// to the network. A broker answers by itself.
func (d *daemon) answerRestarts() {
	for _, k := range daemonKinds {
		if k.name != d.section {
			continue
		}
		d.net.Handle(string(k.role), subjects.VerbRestart, func(_ context.Context, r *overlay.Request) *subjects.Reply {
			id := d.creds.Identity()
			reply, end := subjects.RestartReply{
				Boot: d.net.Boot(), Version: versionString(), Supervised: supervised(), Certificate: &subjects.Validity{From: id.NotBefore, Until: id.NotAfter},
			}.Answer(r.Data)
			if end {
				d.restart(r.Sender())
			}
			return reply
		})
	}
}

// restart has the daemon end, and leave the network before. It returns at once.
func (d *daemon) restart(by subjects.NodeID) {
	node := d.creds.Identity().Node
	d.audit.Write(audit.Entry{Who: string(by), Act: audit.Restart, What: d.section + " of " + string(node), From: string(by), Outcome: audit.OK})
	d.log.Warn().Str("event", "restart").Str("by", string(by)).Msg("restart on request")
	d.askAgain()
}

// awaitRestart returns errRestart once one is wanted, nil when ctx ends.
func (d *daemon) awaitRestart(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.again:
	}
	select {
	case <-ctx.Done():
	case <-time.After(answerPause):
	}
	return errRestart
}
