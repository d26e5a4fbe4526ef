package up

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"thor/identity/atomicfile"
	"thor/nodeagent/secret"
	"thor/subjects"
)

// A sipServer is what runs beside a node.
type sipServer int

const (
	responder    sipServer = iota // a subcommand of thor's own
	bareKamailio                  // answers OPTIONS only, for want of a module
	fullKamailio                  // with the example configuration
)

// secretFile is what a node's agent and its Kamailio know each other by.
func (l *layout) secretFile(node string) string { return filepath.Join(l.Dir, node, "local.secret") }

func (l *layout) nodes() error {
	program, kind := l.sipServer()
	for i := 1; i <= l.Nodes; i++ {
		name := fmt.Sprintf("node%d", i)
		a := nodeAddress(l.Loopback, i)
		head, err := l.home(name, a, subjects.SIPProxy)
		if err != nil {
			return err
		}
		local := fmt.Sprintf("%s:%d", a, portLocal)
		l.net.Local[name] = "http://" + local
		toml := head + fmt.Sprintf("[node]\nhttp = %q\nlookup = \"%s:%d\"\nsocket = \"node.sock\"\nsecret_file = \"local.secret\"\n\n[node.subscribers]\n\n", local, a, portLines) +
			fmt.Sprintf("[[node.role]]\nrole = \"sip_proxy\"\naddresses = [%q]\n", a)
		if kind == fullKamailio {
			toml += fmt.Sprintf("kamailio = \"http://%s:%d/RPC\"\n", a, portRPC)
		}
		toml += fmt.Sprintf("\n[[node.role.check]]\nkind = \"sip\"\ntarget = \"%s:%d\"\ninterval = \"500ms\"\n", a, portSIP)
		if _, err := secret.Load(l.secretFile(name), -1); err != nil {
			return err
		}
		if err := l.daemon(nodeTier, name, "node", subjects.SIPProxy, toml); err != nil {
			return err
		}
		agent := l.children[len(l.children)-1]
		agent.store = newFDStore(filepath.Join(l.Dir, name, "notify.sock"))
		agent.listen = []socketAddr{
			{"tcp", fmt.Sprintf("%s:%d", a, portLocal)}, {"tcp", fmt.Sprintf("%s:%d", a, portLines)},
		}
		if err := l.sip(name+"-sip", name, program, kind, a); err != nil {
			return err
		}
	}
	return nil
}

// sipServer finds out what can run here.
func (l *layout) sipServer() (path string, kind sipServer) {
	path, err := program("kamailio")
	if err != nil {
		l.Say("Kamailio is not installed (Debian package kamailio): each node runs a small SIP responder instead")
		return l.Binary, responder
	}
	file := filepath.Join(l.Dir, "kamailio-check.cfg")
	defer os.Remove(file)
	defer os.Remove(file + ".secret")
	_, err = secret.Load(file+".secret", -1)
	cfg, cerr := kamailioConfig(nodeAddress(l.Loopback, 1), file+".secret")
	if err = errors.Join(err, cerr); err == nil {
		err = atomicfile.Write(file, []byte(cfg), 0o600)
	}
	if err == nil {
		err = exec.Command(path, "-c", "-f", file).Run()
	}
	if err != nil {
		l.Say("Kamailio lacks a module (Debian package kamailio-utils-modules), or is older than 5.6: it answers OPTIONS, and no phone can register")
		return path, bareKamailio
	}
	return path, fullKamailio
}

// kamailioConfig is the example's, with the node's addresses.
func kamailioConfig(a netip.Addr, secretFile string) (string, error) {
	return registerConfig(own{
		address: a.String(), agent: fmt.Sprintf("%s:%d", a, portLocal), rpc: fmt.Sprintf("%s:%d", a, portRPC), secret: secretFile,
	})
}

// sip adds the SIP server beside a node.
func (l *layout) sip(name, node, program string, kind sipServer, a netip.Addr) error {
	if kind == responder {
		return l.service(name, node, subjects.SIPProxy, syscall.SIGTERM, program, "sip-responder", "--listen", fmt.Sprintf("%s:%d", a, portSIP))
	}
	dir := filepath.Join(l.Dir, name)
	file := filepath.Join(dir, "kamailio.cfg")
	// Few workers: there may be many nodes on this machine.
	if err := l.service(name, node, subjects.SIPProxy, syscall.SIGTERM, program, "-DD", "-E", "-f", file, "-n", "2", "-N", "2",
		"-P", filepath.Join(dir, "kamailio.pid"), "-Y", dir, "-w", dir, "-m", "32", "-M", "4"); err != nil {
		return err
	}
	cfg := fmt.Sprintf(bareConfig, a, a)
	if kind == fullKamailio {
		var err error
		if cfg, err = kamailioConfig(a, l.secretFile(node)); err != nil {
			return err
		}
	}
	return atomicfile.Write(file, []byte(cfg), 0o600)
}

// bareConfig answers OPTIONS, and 404 to the rest: enough to be checked.
const bareConfig = `#!KAMAILIO
debug=1
log_stderror=yes
auto_aliases=no
listen=udp:%s:5060
listen=tcp:%s:5060
loadmodule "sl.so"
request_route {
	if (method == "OPTIONS") {
		sl_send_reply("200", "OK");
		exit;
	}
	if (method == "ACK") {
		exit;
	}
	sl_send_reply("404", "Not Found");
}
`
