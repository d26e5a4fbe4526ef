// Package config reads the TOML files of thor's daemons. It reports every
// problem of a file at once, each with its line, and never guesses: an unknown
// key, a number without a unit, a port out of range is an error.
//
// One file may hold the sections of several daemons of a host; each reads
// [network], [log] and its own. Order of precedence: defaults, file, THOR_*
// environment. Relative paths are relative to the file.
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/subjects"
)

// MaxSize is the size in bytes above which a file is refused unread.
const MaxSize = 1 << 20

// A File is a whole configuration file. Sections that are absent are nil.
type File struct {
	Path     string
	Network  Network   `toml:"network"`
	Log      Log       `toml:"log"`
	Broker   *Broker   `toml:"broker"`
	Manager  *Manager  `toml:"manager"`
	Node     *Node     `toml:"node"`
	DNS      *DNS      `toml:"dns"`
	Database *Database `toml:"database"`

	d *decoder
}

// Network is what every daemon needs to join.
type Network struct {
	Domain      string   `toml:"domain"`      // of the network; must be the certificate's O
	Brokers     []string `toml:"brokers"`     // "tls://HOST:PORT", or one "srv:DOMAIN"
	Certificate string   `toml:"certificate"` // PEM file
	Key         string   `toml:"key"`         // PEM file, readable by its owner only
	CA          string   `toml:"ca"`          // PEM file; several during a CA rotation
	State       string   `toml:"state"`       // directory of this daemon alone
	HTTP        string   `toml:"http"`        // host:port of metrics and health; empty is off
}

// Log says what is logged, to standard error.
type Log struct {
	Level  string `toml:"level"`  // debug, info (default), warn, error
	Format string `toml:"format"` // auto (default: console on a terminal), json, console
}

// Broker configures the event server.
type Broker struct {
	Listen           string        `toml:"listen"`            // host:port for clients
	Advertise        string        `toml:"advertise"`         // host:port in the certificate; default: listen
	ClusterListen    string        `toml:"cluster_listen"`    // host:port for other brokers; empty is standalone
	ClusterAdvertise string        `toml:"cluster_advertise"` // default: cluster_listen
	Routes           []string      `toml:"routes"`            // every broker's "tls://HOST:PORT"
	Store            string        `toml:"store"`             // JetStream's directory; default: state
	CRL              string        `toml:"crl"`               // PEM or DER file, re-read when it changes
	Addresses        []netip.Addr  `toml:"addresses"`         // to announce; default: the certificate's
	LameDuck         time.Duration `toml:"lame_duck"`         // time to let clients go at the end; default 2s
}

// Manager configures the network manager.
type Manager struct {
	Addresses []netip.Addr  `toml:"addresses"` // to announce; default: the certificate's
	Priority  int           `toml:"priority"`  // lower is preferred; default 50
	Dead      time.Duration `toml:"dead"`      // silence after which a member is gone; default 10s
	Grace     time.Duration `toml:"grace"`     // after a lost connection; default 500ms
	Departed  time.Duration `toml:"departed"`  // for how long a host name outlives its membership; default 10m
	Damping   *bool         `toml:"damping"`   // hold back members that flap; default true
}

// Node configures the node agent.
type Node struct {
	Roles []Role `toml:"role"`
}

// Role is one role that the node agent announces.
type Role struct {
	Role      string            `toml:"role"`
	Addresses []netip.Addr      `toml:"addresses"` // default: the certificate's
	Priority  int               `toml:"priority"`
	Weight    int               `toml:"weight"`
	Version   string            `toml:"version"`
	Attrs     map[string]string `toml:"attrs"`
	Checks    []Check           `toml:"check"`
}

// Check is one probe of a local service.
type Check struct {
	Kind      string        `toml:"kind"`      // sip, rtpengine, tcp, http, command
	Target    string        `toml:"target"`    // host:port, or a URL for http
	Transport string        `toml:"transport"` // sip: udp (default), tcp, tls
	Command   []string      `toml:"command"`
	Expect    []int         `toml:"expect"`   // sip, http: status codes that count as alive
	CA        string        `toml:"ca"`       // sip over tls, https: PEM file of the service's CA
	Interval  time.Duration `toml:"interval"` // default 2s
	Timeout   time.Duration `toml:"timeout"`  // default 1s, or the interval if that is shorter
	Rise      int           `toml:"rise"`     // successes before it counts as up again; default 2
	Fall      int           `toml:"fall"`     // failures before it counts as down; default 2
}

// DNS configures the name server.
type DNS struct {
	Listen    []string       `toml:"listen"`    // host:port, UDP and TCP each
	Addresses []netip.Addr   `toml:"addresses"` // to announce; default: the certificate's
	NS        []string       `toml:"ns"`        // host names; default: the nodes of the live name servers
	Contact   string         `toml:"contact"`   // SOA RNAME as a mail address; default hostmaster@domain
	Slice     int            `toml:"slice"`     // members in an answer, 1 to 8; default 4
	Slices    map[string]int `toml:"slices"`    // per role
	TTL       time.Duration  `toml:"ttl"`       // of role sets; default 10s
	Static    []string       `toml:"static"`    // further records, in zone file form
}

// Database configures the database locator.
type Database struct {
	Addresses    []netip.Addr  `toml:"addresses"`
	URI          string        `toml:"uri"`           // mysql://USER@HOST:PORT/NAME
	PasswordFile string        `toml:"password_file"` // holds the password alone
	Priority     int           `toml:"priority"`      // default 10
	Mode         string        `toml:"mode"`          // read-write (default), read-only
	Cleared      []string      `toml:"cleared"`       // roles that may ask for the password
	Interval     time.Duration `toml:"interval"`      // default 2s
	Timeout      time.Duration `toml:"timeout"`       // default 1s, or the interval if that is shorter
}

// Load reads and checks a file. The error is Problems when the file could be read.
func Load(path string) (*File, error) {
	doc, err := read(path)
	if err != nil {
		return nil, Problems{{File: path, Text: err.Error()}}
	}
	f := &File{Path: path, d: &decoder{file: path}}
	f.d.parse(doc, f)
	if len(f.d.problems) == 0 || f.d.lines != nil {
		f.environment()
		f.check()
	}
	if len(f.d.problems) > 0 {
		slices.SortStableFunc(f.d.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
		return nil, f.d.problems
	}
	f.defaults()
	return f, nil
}

func read(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, errors.New("no such file")
	case err != nil:
		var pe *os.PathError
		if errors.As(err, &pe) {
			return nil, pe.Err
		}
		return nil, err
	case fi.IsDir():
		return nil, errors.New("is a directory, name the file")
	case fi.Size() > MaxSize:
		return nil, fmt.Errorf("is larger than %d bytes", MaxSize)
	}
	h, err := os.Open(path)
	if err != nil {
		return nil, errors.New("cannot be opened: " + errors.Unwrap(err).Error())
	}
	defer h.Close()
	doc, err := io.ReadAll(io.LimitReader(h, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil, errors.New("is empty")
	}
	if bytes.HasPrefix(doc, []byte("\xef\xbb\xbf")) {
		return nil, errors.New("begins with a byte order mark, save it as plain UTF-8")
	}
	return doc, nil
}

// environment lets THOR_* override [network].
func (f *File) environment() {
	n := &f.Network
	for env, dst := range map[string]*string{
		"THOR_DOMAIN": &n.Domain, "THOR_CERT": &n.Certificate, "THOR_KEY": &n.Key, "THOR_CA": &n.CA, "THOR_STATE": &n.State,
	} {
		if v := os.Getenv(env); v != "" {
			*dst = v
		}
	}
	if v := os.Getenv("THOR_BROKERS"); v != "" {
		n.Brokers = strings.Split(v, ",")
	}
}

func (f *File) check() {
	f.checkNetwork()
	f.checkLog()
	if f.Broker != nil {
		f.checkBroker()
	}
	if f.Manager != nil {
		f.checkManager()
	}
	if f.Node != nil {
		f.checkNode()
	}
	if f.DNS != nil {
		f.checkDNS()
	}
	if f.Database != nil {
		f.checkDatabase()
	}
	if f.Broker == nil && f.Manager == nil && f.Node == nil && f.DNS == nil && f.Database == nil {
		f.d.add("", "has no daemon's section: one of [broker], [manager], [node], [dns], [database]")
	}
}

func (f *File) require(key, value string) bool {
	if value == "" && !f.failed(key) {
		f.d.add(key, "is missing")
	}
	return value != ""
}

// failed reports whether key has a problem already.
func (f *File) failed(key string) bool {
	return slices.ContainsFunc(f.d.problems, func(p Problem) bool { return p.Key == key })
}

func (f *File) checkNetwork() {
	n := &f.Network
	if f.require("network.domain", n.Domain) && !isDomain(n.Domain) {
		f.d.add("network.domain", "%q is not a domain name", n.Domain)
	}
	f.require("network.certificate", n.Certificate)
	f.require("network.key", n.Key)
	f.require("network.ca", n.CA)
	f.require("network.state", n.State)
	if len(n.Brokers) == 0 && f.needsBrokers() && !f.failed("network.brokers") {
		f.d.add("network.brokers", "is missing: list the brokers like [\"tls://192.0.2.1:4222\"]")
	}
	for i, b := range n.Brokers {
		key := fmt.Sprintf("network.brokers[%d]", i)
		if d, ok := strings.CutPrefix(b, "srv:"); ok {
			if len(n.Brokers) > 1 || !isDomain(d) {
				f.d.add(key, "srv:DOMAIN stands alone and names a domain")
			}
			continue
		}
		f.checkURL(key, b)
	}
	if n.HTTP != "" {
		f.hostPort("network.http", n.HTTP)
	}
}

func (f *File) needsBrokers() bool {
	return f.Manager != nil || f.Node != nil || f.DNS != nil || f.Database != nil
}

func (f *File) checkURL(key, s string) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "tls" || u.User != nil || u.Path != "" {
		f.d.add(key, "%q is no broker, write it like \"tls://192.0.2.1:4222\"", s)
		return
	}
	f.hostPort(key, u.Host)
}

// hostPort checks host:port; the port may be 0 only where the system may choose, which is nowhere here.
func (f *File) hostPort(key, s string) {
	_, port, err := net.SplitHostPort(s)
	n, perr := strconv.Atoi(port)
	switch {
	case err != nil:
		f.d.add(key, "%q is not host:port", s)
	case perr != nil || n < 1 || n > 65535:
		f.d.add(key, "port %q is not 1 to 65535", port)
	}
}

func (f *File) checkLog() {
	if !slices.Contains([]string{"", "debug", "info", "warn", "error"}, f.Log.Level) {
		f.d.add("log.level", "%q is not debug, info, warn or error", f.Log.Level)
	}
	if !slices.Contains([]string{"", "auto", "json", "console"}, f.Log.Format) {
		f.d.add("log.format", "%q is not auto, json or console", f.Log.Format)
	}
}

func (f *File) checkBroker() {
	b := f.Broker
	if f.require("broker.listen", b.Listen) {
		f.hostPort("broker.listen", b.Listen)
	}
	for key, v := range map[string]string{
		"broker.advertise": b.Advertise, "broker.cluster_listen": b.ClusterListen, "broker.cluster_advertise": b.ClusterAdvertise,
	} {
		if v != "" {
			f.hostPort(key, v)
		}
	}
	for i, r := range b.Routes {
		f.checkURL(fmt.Sprintf("broker.routes[%d]", i), r)
	}
	if b.ClusterListen == "" && len(b.Routes) > 0 {
		f.d.add("broker.routes", "needs cluster_listen too")
	}
	if b.ClusterListen != "" && len(b.Routes) == 1 {
		f.d.add("broker.routes", "a cluster of one never elects a leader: list 3 brokers, or leave out cluster_listen to stand alone")
	}
	if b.ClusterListen != "" && len(b.Routes) == 0 && !f.failed("broker.routes") {
		f.d.add("broker.routes", "is missing: list every broker of the cluster")
	}
}

func (f *File) checkManager() {
	m := f.Manager
	f.priority("manager.priority", m.Priority)
	if m.Dead != 0 && m.Dead < 8*time.Second {
		f.d.add("manager.dead", "%s is too short: a broker that freezes silences its members for up to 6 s, so use 8s or more", m.Dead)
	}
	if m.Grace != 0 && m.Grace < 200*time.Millisecond {
		f.d.add("manager.grace", "%s is too short to reconnect in, use 200ms or more", m.Grace)
	}
}

func (f *File) priority(key string, p int) {
	if p < 0 || p > 65535 {
		f.d.add(key, "%d is not 1 to 65535", p)
	}
}

func (f *File) checkNode() {
	if len(f.Node.Roles) == 0 && !f.failed("node.role") {
		f.d.add("node", "announces nothing: add [[node.role]]")
	}
	seen := make(map[string]int)
	for i := range f.Node.Roles {
		r, key := &f.Node.Roles[i], fmt.Sprintf("node.role[%d]", i)
		if f.require(key+".role", r.Role) {
			role, err := subjects.ParseRole(r.Role)
			if err != nil {
				f.d.add(key+".role", "%v", err)
			} else if role.Infrastructure() {
				f.d.add(key+".role", "%s is announced by its own daemon, not by the node agent", role)
			}
			if j, dup := seen[r.Role]; dup {
				f.d.add(key+".role", "%s is announced by node.role[%d] already", r.Role, j)
			}
			seen[r.Role] = i
		}
		f.priority(key+".priority", r.Priority)
		f.priority(key+".weight", r.Weight)
		for j := range r.Checks {
			f.checkCheck(fmt.Sprintf("%s.check[%d]", key, j), &r.Checks[j])
		}
	}
}

func (f *File) checkCheck(key string, c *Check) {
	if f.failed(key + ".kind") {
		return
	}
	switch c.Kind {
	case "sip", "rtpengine", "tcp":
		if f.require(key+".target", c.Target) {
			f.hostPort(key+".target", c.Target)
		}
	case "http":
		if u, err := url.Parse(c.Target); f.require(key+".target", c.Target) &&
			(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			f.d.add(key+".target", "%q is not a URL like \"http://127.0.0.1:8080/health\"", c.Target)
		}
	case "command":
		if len(c.Command) == 0 || !filepath.IsAbs(c.Command[0]) {
			f.d.add(key+".command", "is a list that begins with an absolute path")
		}
	default:
		f.d.add(key+".kind", "%q is not sip, rtpengine, tcp, http or command", c.Kind)
	}
	if !slices.Contains([]string{"", "udp", "tcp", "tls"}, c.Transport) {
		f.d.add(key+".transport", "%q is not udp, tcp or tls", c.Transport)
	}
	if c.Interval != 0 && c.Interval < 100*time.Millisecond {
		f.d.add(key+".interval", "%s is shorter than 100ms", c.Interval)
	}
	interval := cmp.Or(c.Interval, 2*time.Second)
	if c.Timeout > interval {
		f.d.add(key+".timeout", "%s is longer than the interval of %s", c.Timeout, interval)
	}
	if c.Rise < 0 || c.Rise > 100 || c.Fall < 0 || c.Fall > 100 {
		f.d.add(key, "rise and fall are 1 to 100")
	}
}

func (f *File) checkDNS() {
	d := f.DNS
	if len(d.Listen) == 0 && !f.failed("dns.listen") {
		f.d.add("dns.listen", "is missing: list host:port pairs")
	}
	for i, l := range d.Listen {
		f.hostPort(fmt.Sprintf("dns.listen[%d]", i), l)
	}
	if d.Slice < 0 || d.Slice > 8 {
		f.d.add("dns.slice", "%d is not 1 to 8 (SIP clients read no more)", d.Slice)
	}
	for r, n := range d.Slices {
		if _, err := subjects.ParseRole(r); err != nil {
			f.d.add("dns.slices."+r, "%v", err)
		}
		if n < 1 || n > 8 {
			f.d.add("dns.slices."+r, "%d is not 1 to 8", n)
		}
	}
	if d.TTL != 0 && (d.TTL < time.Second || d.TTL > 24*time.Hour || d.TTL%time.Second != 0) {
		f.d.add("dns.ttl", "%s is not whole seconds from 1s to 24h", d.TTL)
	}
}

func (f *File) checkDatabase() {
	d := f.Database
	f.require("database.uri", d.URI)
	f.priority("database.priority", d.Priority)
	if interval := cmp.Or(d.Interval, 2*time.Second); d.Timeout > interval {
		f.d.add("database.timeout", "%s is longer than the interval of %s", d.Timeout, interval)
	}
	if !slices.Contains([]string{"", "read-write", "read-only"}, d.Mode) {
		f.d.add("database.mode", "%q is not read-write or read-only", d.Mode)
	}
	for i, r := range d.Cleared {
		if _, err := subjects.ParseRole(r); err != nil {
			f.d.add(fmt.Sprintf("database.cleared[%d]", i), "%v", err)
		}
	}
}

func isDomain(s string) bool {
	if len(s) == 0 || len(s) > 253 || strings.ToLower(s) != s {
		return false
	}
	for l := range strings.SplitSeq(s, ".") {
		if len(l) == 0 || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// defaults fills in what the file leaves open and makes paths absolute.
func (f *File) defaults() {
	dir, _ := filepath.Abs(filepath.Dir(f.Path)) // fails only without a working directory
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	n := &f.Network
	for _, p := range []*string{&n.Certificate, &n.Key, &n.CA, &n.State} {
		abs(p)
	}
	set(&f.Log.Level, "info")
	set(&f.Log.Format, "auto")
	if b := f.Broker; b != nil {
		set(&b.Store, n.State)
		set(&b.Advertise, b.Listen)
		set(&b.ClusterAdvertise, b.ClusterListen)
		set(&b.LameDuck, 2*time.Second)
		abs(&b.Store)
		abs(&b.CRL)
	}
	if m := f.Manager; m != nil {
		set(&m.Priority, 50)
		set(&m.Dead, 10*time.Second)
		set(&m.Grace, 500*time.Millisecond)
		set(&m.Departed, 10*time.Minute)
	}
	if f.Node != nil {
		for i := range f.Node.Roles {
			for j := range f.Node.Roles[i].Checks {
				c := &f.Node.Roles[i].Checks[j]
				set(&c.Interval, 2*time.Second)
				set(&c.Timeout, min(time.Second, c.Interval))
				set(&c.Rise, 2)
				set(&c.Fall, 2)
				abs(&c.CA)
			}
		}
	}
	if d := f.DNS; d != nil {
		set(&d.Slice, 4)
		set(&d.TTL, 10*time.Second)
	}
	if d := f.Database; d != nil {
		set(&d.Priority, 10)
		set(&d.Mode, "read-write")
		set(&d.Interval, 2*time.Second)
		set(&d.Timeout, min(time.Second, d.Interval))
		abs(&d.PasswordFile)
	}
}

func set[T comparable](p *T, v T) {
	if reflect.ValueOf(p).Elem().IsZero() {
		*p = v
	}
}

// Has reports whether the file has the section of a daemon's subcommand.
func (f *File) Has(section string) bool {
	switch section {
	case "broker":
		return f.Broker != nil
	case "manager":
		return f.Manager != nil
	case "node":
		return f.Node != nil
	case "dns":
		return f.DNS != nil
	case "database":
		return f.Database != nil
	}
	return false
}

// Line is the line at which key, or the nearest table around it, stands; 0 when nowhere.
func (f *File) Line(key string) int { return f.d.line(key) }
