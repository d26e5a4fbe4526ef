package up

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"thor/identity"
	"thor/identity/atomicfile"
	"thor/subjects"
)

// layout makes the directories, certificates and configurations of a network,
// and the list of children that run it.
type layout struct {
	Options
	ca       *identity.Authority
	children []*child
	net      *Network
	ports    ports

	urls   []string // of the brokers
	routes []string

	mariadb          *mariadb // nil: it is not installed, or there is a cluster
	galera           *galera  // nil: there is no cluster
	powerDNSPassword string
}

// certificates live as long as anybody will try a network.
const validity = 30 * 24 * time.Hour

func (l *layout) prepare() error {
	dir := filepath.Join(l.Dir, "ca")
	_, err := os.Stat(filepath.Join(dir, "ca.crt"))
	if errors.Is(err, os.ErrNotExist) {
		l.ca, err = identity.Init(dir, l.Domain, identity.InitOptions{})
	} else if err == nil {
		l.ca, err = identity.Open(dir)
	}
	if err != nil {
		return err
	}
	if l.ca.Domain() != l.Domain {
		return fmt.Errorf("%s holds a network of %s: choose another --dir, or --domain %s", l.Dir, l.ca.Domain(), l.ca.Domain())
	}
	l.net = &Network{Domain: l.Domain, HTTP: make(map[string]string), Local: make(map[string]string)}
	defer l.ports.release()
	for _, listen := range l.nameServerAddresses() {
		if a, err := netip.ParseAddrPort(listen); err == nil { // another form has no address of its own
			l.ports.told = append(l.ports.told, int(a.Port()))
		}
	}
	for _, step := range []func() error{l.operator, l.brokers, l.managers, l.findDatabase, l.nameServers, l.database, l.webView, l.nodes} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) addr(group, i int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("%s.%d.%d", l.Loopback, group, i))
}

// home makes a child's directory with its certificate, and returns the [network] section.
func (l *layout) home(node string, addr netip.Addr, roles ...subjects.Role) (string, error) {
	dir := filepath.Join(l.Dir, node)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := l.certificate(dir, node, addr, roles...); err != nil {
		return "", err
	}
	port, err := l.ports.take(addr) // not of 127.0.0.1, where connections take ports of their own
	if err != nil {
		return "", err
	}
	http := fmt.Sprintf("%s:%d", addr, port)
	l.net.HTTP[node] = "http://" + http
	return fmt.Sprintf("[network]\ndomain = %q\nbrokers = [%s]\ncertificate = \"node.crt\"\nkey = \"node.key\"\nca = \"ca.crt\"\nstate = \"state\"\nhttp = %q\n\n[log]\nformat = \"console\"\naudit = \"audit.log\"\n\n",
		l.Domain, quoted(l.urls), http), nil
}

func (l *layout) certificate(dir, node string, addr netip.Addr, roles ...subjects.Role) error {
	req := identity.Request{Node: subjects.NodeID(node), Roles: roles, Validity: validity, Site: l.siteOf(node)}
	if addr.IsValid() {
		req.Addresses = []netip.Addr{addr}
	}
	cert, key, err := l.ca.Issue(req)
	if err != nil {
		return fmt.Errorf("certificate of %s: %w", node, err)
	}
	return errors.Join(
		atomicfile.Write(filepath.Join(dir, "node.key"), key, 0o600),
		atomicfile.Write(filepath.Join(dir, "node.crt"), cert, 0o644),
		atomicfile.Write(filepath.Join(dir, "ca.crt"), l.ca.CertificatePEM(), 0o644))
}

func quoted(ss []string) string {
	q := make([]string, len(ss))
	for i, s := range ss {
		q[i] = strconv.Quote(s)
	}
	return strings.Join(q, ", ")
}

// daemon adds a child that runs a subcommand of thor.
func (l *layout) daemon(tier tier, name, command string, role subjects.Role, toml string) error {
	cfg := filepath.Join(l.Dir, name, "thor.toml")
	if err := atomicfile.Write(cfg, []byte(toml), 0o600); err != nil {
		return err
	}
	l.children = append(l.children, &child{
		Process: Process{Name: name, Command: command, Role: string(role), Node: name, State: stopped, Config: cfg},
		argv:    []string{l.Binary, command, "--config", cfg}, stop: syscall.SIGTERM, tier: tier,
	})
	return nil
}

// service adds a child that is no daemon of thor's: what a node checks.
func (l *layout) service(name, node string, role subjects.Role, stop syscall.Signal, argv ...string) error {
	if err := os.MkdirAll(filepath.Join(l.Dir, name), 0o700); err != nil {
		return err
	}
	l.children = append(l.children, &child{
		Process: Process{Name: name, Command: filepath.Base(argv[0]), Role: string(role), Node: node, State: stopped},
		argv:    argv, stop: stop, tier: serviceTier,
	})
	return nil
}

func (l *layout) operator() error {
	dir := filepath.Join(l.Dir, "operator")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := l.certificate(dir, "operator", netip.MustParseAddr("127.0.0.1"), subjects.Operator, subjects.Monitor); err != nil {
		return err
	}
	l.net.Operator = Operator{
		Cert: filepath.Join(dir, "node.crt"), Key: filepath.Join(dir, "node.key"), CA: filepath.Join(dir, "ca.crt"),
	}
	return nil
}

func (l *layout) brokers() error {
	var listen, cluster []string
	for i := 1; i <= brokers; i++ {
		a := l.addr(10, i)
		p, err := l.ports.take(a)
		if err != nil {
			return err
		}
		q, err := l.ports.take(a)
		if err != nil {
			return err
		}
		listen = append(listen, fmt.Sprintf("%s:%d", a, p))
		cluster = append(cluster, fmt.Sprintf("%s:%d", a, q))
		l.urls = append(l.urls, "tls://"+listen[i-1])
		l.routes = append(l.routes, "tls://"+cluster[i-1])
	}
	l.net.Brokers = l.urls
	for i := 1; i <= brokers; i++ {
		name := brokerName(i)
		head, err := l.home(name, l.addr(10, i), subjects.EventServer)
		if err != nil {
			return err
		}
		toml := head + fmt.Sprintf("[broker]\nlisten = %q\ncluster_listen = %q\nroutes = [%s]\n", listen[i-1], cluster[i-1], quoted(l.routes))
		if sites := l.brokerSites(); len(sites) > 0 {
			toml += fmt.Sprintf("jetstream_sites = [%s]\n", quoted(sites))
		}
		if err := l.daemon(brokerTier, name, "broker", subjects.EventServer, toml); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) managers() error {
	for i := 1; i <= managers; i++ {
		name := fmt.Sprintf("manager%d", i)
		head, err := l.home(name, l.addr(11, i), subjects.Manager)
		if err != nil {
			return err
		}
		if err := l.daemon(controlTier, name, "manager", subjects.Manager, head+fmt.Sprintf("[manager]\npriority = 50\ndamping = %v\n", l.Damping)); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) nameServers() error {
	for i, listen := range l.nameServerAddresses() {
		i++
		name := fmt.Sprintf("dns%d", i)
		head, err := l.home(name, l.addr(12, i), subjects.DNSManager)
		if err != nil {
			return err
		}
		l.net.DNS = append(l.net.DNS, listen)
		addresses := []string{listen}
		if host, port, err := net.SplitHostPort(listen); err == nil && host != "" && !netip.MustParseAddr(host).IsUnspecified() {
			// The address that it announces too, where the other name server compares it with itself.
			addresses = append(addresses, net.JoinHostPort(l.addr(12, i).String(), port))
		}
		toml := head + fmt.Sprintf("[dns]\nlisten = [%s]\n", quoted(addresses))
		if l.PowerDNS {
			more, err := l.powerDNS(i, name)
			if err != nil {
				return err
			}
			toml += more
		}
		if err := l.daemon(controlTier, name, "dns", subjects.DNSManager, toml); err != nil {
			return err
		}
	}
	return nil
}

// findDatabase finds out which database servers there can be, and where.
func (l *layout) findDatabase() error {
	if l.Galera {
		return l.findGalera()
	}
	return l.findMariaDB()
}

// database adds a MariaDB with its locator if a server program is installed, or a
// cluster of them.
func (l *layout) database() error {
	if l.galera != nil {
		return l.galeraDatabases()
	}
	if l.mariadb == nil {
		l.Say("MariaDB is not installed (Debian package mariadb-server): the network runs without thor_database and provisioning_server")
		return nil
	}
	a, port := l.mariadb.addr, l.mariadb.port
	password := rand.Text()
	if err := l.mariaDB(password); err != nil {
		return err
	}
	dsn := fmt.Sprintf("thor@tcp(%s:%d)/thor", a, port)
	l.net.Database = &dsn
	if err := l.locator("database1", a, fmt.Sprintf("mysql://thor@%s:%d/thor", a, port), password, 10); err != nil {
		return err
	}
	return l.provisioning()
}

// locator adds the locator of one database server.
func (l *layout) locator(node string, a netip.Addr, uri, password string, priority int) error {
	head, err := l.home(node, a, subjects.Database)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(l.Dir, node, "password"), []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	return l.daemon(controlTier, node, "database", subjects.Database, head+fmt.Sprintf(
		"[database]\nuri = %q\npassword_file = \"password\"\npriority = %d\ncleared = [\"provisioning_server\"]\ninterval = \"500ms\"\n", uri, priority))
}

// provisioning adds a provisioning server, on NGNPro's port if that is free.
func (l *layout) provisioning() error {
	const name = "provisioning1"
	a := l.addr(14, 1)
	port, err := l.ports.prefer(a, portSOAP)
	if err != nil {
		return err
	}
	head, err := l.home(name, a, subjects.ProvisioningServer)
	if err != nil {
		return err
	}
	l.net.SOAP = &soap{URL: fmt.Sprintf("https://%s:%d/", a, port), User: "admin", PasswordFile: filepath.Join(l.Dir, name, "password")}
	if err := atomicfile.Write(l.net.SOAP.PasswordFile, []byte(rand.Text()+"\n"), 0o600); err != nil {
		return err
	}
	return l.daemon(controlTier, name, "provisioning", subjects.ProvisioningServer,
		head+fmt.Sprintf("[provisioning]\nlisten = \"%s:%d\"\nurl = %q\nadmin = \"admin\"\nadmin_password_file = \"password\"\n", a, port, l.net.SOAP.URL))
}

// webView adds the web view, on its usual port if that is free at its address.
func (l *layout) webView() error {
	const name = "web1"
	a := l.addr(15, 1)
	port, err := l.ports.prefer(a, portWeb)
	if err != nil {
		return err
	}
	head, err := l.home(name, a, subjects.Monitor)
	if err != nil {
		return err
	}
	listen := fmt.Sprintf("%s:%d", a, port)
	l.net.Web = "http://" + listen + "/"
	return l.daemon(controlTier, name, "web", subjects.Monitor, head+fmt.Sprintf("[web]\nlisten = %q\nflags = %q\n", listen, Flags(l.Dir)))
}
