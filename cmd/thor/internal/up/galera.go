package up

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"thor/cmd/thor/internal/galeranode"
	"thor/identity/atomicfile"
	"thor/subjects"
)

const (
	galeraNodes    = 3
	galeraProvider = "/usr/lib/galera/libgalera_smm.so" // Debian's
)

// galeraTimes are those of deploy/examples/galera.cnf, which says what they mean.
const galeraTimes = "evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.5S;evs.suspect_timeout=PT1.5S;" +
	"evs.inactive_timeout=PT3S;evs.install_timeout=PT1.5S;evs.delay_margin=PT1S;gmcast.peer_timeout=PT1.5S;pc.recovery=true"

// A galera is the cluster of database servers of the network.
type galera struct {
	server, install string // programs
	members         []galeraMember

	once  sync.Once
	first int // that begins the cluster
	err   error
}

type galeraMember struct {
	name                     string
	addr                     netip.Addr
	port, group, incremental int // for clients, the group's messages, and changes that it missed
}

func (m *galeraMember) dsn() string { return fmt.Sprintf("%s:%d", m.addr, m.port) }

// checkGalera tells what is missing for a cluster.
func checkGalera() error {
	var errs []error
	for _, name := range []string{"mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump", "wsrep_sst_mysqldump"} {
		_, err := program(name)
		errs = append(errs, err)
	}
	_, err := os.Stat(galeraProvider)
	if errors.Join(append(errs, err)...) != nil {
		return errors.New("--galera needs the Debian packages mariadb-server and galera-4")
	}
	return nil
}

// findGalera decides where the nodes listen.
func (l *layout) findGalera() (err error) {
	g := &galera{}
	if g.server, err = program("mariadbd"); err != nil {
		return err
	}
	if g.install, err = program("mariadb-install-db"); err != nil {
		return err
	}
	seen := make(map[int]bool) // one that gives its state away refuses one at its own port
	for i := 1; i <= galeraNodes; i++ {
		m := galeraMember{name: fmt.Sprintf("galera%d", i), addr: l.addr(13, i)}
		for _, p := range []*int{&m.port, &m.group, &m.incremental} {
			for *p == 0 || seen[*p] {
				if *p, err = l.ports.take(m.addr); err != nil {
					return err
				}
			}
			seen[*p] = true
		}
		g.members = append(g.members, m)
	}
	l.galera = g
	return nil
}

// galeraDatabases adds the nodes and a locator for each.
func (l *layout) galeraDatabases() error {
	password, err := l.keptPassword("galera.password")
	if err != nil {
		return err
	}
	transfer, err := l.keptPassword("galera.transfer")
	if err != nil {
		return err
	}
	for i := range l.galera.members {
		m := &l.galera.members[i]
		node := fmt.Sprintf("database%d", i+1)
		dir := filepath.Join(l.Dir, m.name)
		if err := l.service(m.name, node, subjects.Database, syscall.SIGTERM, l.Binary, "galera-node", "--server", l.galera.server, "--dir", dir); err != nil {
			return err
		}
		c := l.children[len(l.children)-1]
		c.Command = filepath.Base(l.galera.server)
		c.prepare = func(ctx context.Context) error { return l.galera.prepare(ctx, l.Dir, i, password, transfer) }
		if err := atomicfile.Write(filepath.Join(dir, "my.cnf"), []byte(l.galera.config(dir, i, transfer)), 0o600); err != nil {
			return err
		}
		uri := fmt.Sprintf("mysql://thor@%s/thor", m.dsn())
		if i == 0 {
			dsn := fmt.Sprintf("thor@tcp(%s)/thor", m.dsn())
			l.net.Database = &dsn
		}
		if err := l.locator(node, m.addr, uri, password, 10*(i+1)); err != nil {
			return err
		}
	}
	return l.provisioning()
}

// keptPassword is one that stays over a restart: the nodes replicate who has it.
func (l *layout) keptPassword(name string) (string, error) {
	file := filepath.Join(l.Dir, name)
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		b = []byte(rand.Text())
		err = atomicfile.Write(file, b, 0o600)
	}
	return string(b), err
}

// config is the my.cnf of the i-th node.
func (g *galera) config(dir string, i int, transfer string) string {
	m := g.members[i]
	var peers, donors []string
	for j := range g.members {
		peers = append(peers, fmt.Sprintf("%s:%d", g.members[j].addr, g.members[j].group))
		if k := len(g.members) - 1 - j; k != i { // the one that is written to last
			donors = append(donors, g.members[k].name)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	return strings.Join([]string{
		"[mariadbd]", "user = " + userName(), "datadir = " + in("data"), "socket = " + in("sock"), "pid-file = " + in("pid"),
		fmt.Sprintf("port = %d", m.port), "bind-address = " + m.addr.String(), "secure-file-priv = " + in("data"), "skip-name-resolve", "skip-log-bin",
		"performance-schema = OFF", "innodb-buffer-pool-size = 32M", "innodb-log-file-size = 16M", "innodb-flush-log-at-trx-commit = 1",
		"binlog-format = ROW", "innodb-autoinc-lock-mode = 2", "wsrep-on = ON", "wsrep-provider = " + galeraProvider, "wsrep-cluster-name = thor",
		"wsrep-cluster-address = gcomm://" + strings.Join(peers, ","), "wsrep-node-name = " + m.name, "wsrep-node-address = " + m.addr.String(),
		"wsrep-node-incoming-address = " + m.dsn(),
		"wsrep-sst-method = mysqldump", "wsrep-sst-auth = transfer:" + transfer, "wsrep-sst-receive-address = " + m.dsn(),
		"wsrep-sst-donor = " + strings.Join(donors, ",") + ",",
		fmt.Sprintf(`wsrep-provider-options = "gmcast.listen_addr=tcp://%s:%d;ist.recv_addr=%s:%d;gcache.size=32M;%s"`, m.addr, m.group, m.addr, m.incremental, galeraTimes),
		"",
	}, "\n")
}

// prepare makes the data of all nodes if there are none, and chooses the one that
// begins the cluster, once for all of them; the others wait until that one listens.
func (g *galera) prepare(ctx context.Context, dir string, i int, password, transfer string) error {
	g.once.Do(func() {
		nodes := make([]galeranode.Node, len(g.members))
		for j, m := range g.members {
			nodes[j] = galeranode.Node{Server: g.server, Dir: filepath.Join(dir, m.name)}
		}
		if g.err = g.makeData(ctx, dir, nodes, password, transfer); g.err == nil {
			g.first, g.err = galeranode.Prepare(ctx, nodes)
		}
	})
	if g.err != nil || i == g.first {
		return g.err
	}
	first := g.members[g.first]
	return awaitListener(ctx, fmt.Sprintf("%s:%d", first.addr, first.group))
}

// makeData gives each node that has none the same data, at the beginning of one
// history: so they need no more of each other than what follows. A node that lost its
// data gets an empty database, and all else from the others.
func (g *galera) makeData(ctx context.Context, dir string, nodes []galeranode.Node, password, transfer string) error {
	var without []string
	for _, n := range nodes {
		if _, err := os.Stat(filepath.Join(n.Dir, "data", "mysql")); err != nil {
			without = append(without, filepath.Join(n.Dir, "data"))
		}
	}
	if len(without) == 0 {
		return nil
	}
	template := filepath.Join(dir, "galera.new")
	defer os.RemoveAll(template)
	if err := os.RemoveAll(template); err != nil {
		return err
	}
	me := "--user=" + userName()
	if err := runToEnd(ctx, "", g.install, "--no-defaults", me, "--datadir="+template, "--auth-root-authentication-method=normal", "--skip-test-db",
		"--skip-name-resolve", "--innodb-buffer-pool-size=32M", logSize); err != nil {
		return err
	}
	sql := "FLUSH PRIVILEGES;\nDELETE FROM mysql.global_priv WHERE User IN ('', 'root') AND Host <> 'localhost';\nFLUSH PRIVILEGES;\nCREATE DATABASE thor;\n" +
		"CREATE USER 'thor'@'%' IDENTIFIED BY '" + password + "';\nGRANT ALL ON thor.* TO 'thor'@'%';\n" +
		"CREATE USER 'transfer'@'%' IDENTIFIED BY '" + transfer + "';\nGRANT ALL ON *.* TO 'transfer'@'%' WITH GRANT OPTION;\n"
	if err := runToEnd(ctx, sql, g.server, "--no-defaults", me, "--datadir="+template, "--bootstrap", "--innodb-buffer-pool-size=32M", logSize,
		"--socket="+filepath.Join(template, "sock"), "--pid-file="+filepath.Join(template, "pid")); err != nil {
		return err
	}
	if len(without) == len(nodes) {
		s := galeranode.State{UUID: newUUID(), Seqno: 0}
		if err := os.WriteFile(filepath.Join(template, "grastate.dat"), []byte(s.String()), 0o600); err != nil {
			return err
		}
	}
	for _, data := range without {
		fresh := data + ".new"
		if err := os.RemoveAll(fresh); err != nil {
			return err
		}
		if err := runToEnd(ctx, "", "/bin/cp", "-a", template, fresh); err != nil {
			return err
		}
		if err := errors.Join(os.RemoveAll(data), os.Rename(fresh, data)); err != nil {
			return err
		}
	}
	return nil
}

// newUUID is a random one, RFC 9562.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// runToEnd runs a program with input, and all that it starts, until it ends.
func runToEnd(ctx context.Context, input, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, lastLine(out))
	}
	return nil
}
