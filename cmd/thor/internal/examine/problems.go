package examine

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"thor/cmd/thor/internal/components"
	"thor/cmd/thor/internal/config"
	"thor/dbagent"
	"thor/identity"
	"thor/monitor/web"
	"thor/nodeagent"
	"thor/overlay"
	"thor/subjects"
)

// An input is a configuration and what was read of the files that it names.
type input struct {
	file    *config.File
	section string                // of the daemon; empty: all of the file
	creds   *identity.Credentials // nil: they cannot be used
	known   config.Problems       // of the file itself
	unread  config.Problems       // of the files that it names

	roles        []nodeagent.RoleConfig // of [node]
	databases    dbagent.Config         // of [database]
	databaseKeys []string               // of each database
}

// An examination asks the package behind each section what it would refuse. It
// does no I/O and starts nothing.
type examination struct {
	*input
	found config.Problems
}

// problems are those of the file itself, of the files that it names, and those
// that the packages behind its sections find.
func problems(in *input) config.Problems {
	x := &examination{input: in}
	if in.section != "" && !in.file.Has(in.section) {
		x.add("", "has no [%s] section", in.section)
	}
	if in.creds != nil && in.creds.Identity().Domain != in.file.Network.Domain {
		x.add("network.domain", "is %q, but the certificate is for %q", in.file.Network.Domain, in.creds.Identity().Domain)
	}
	for _, p := range in.unread {
		x.add(p.Key, "%s", p.Text)
	}
	for _, s := range []struct {
		name string
		ask  func()
	}{
		{"broker", x.broker},
		{"manager", x.manager},
		{"node", x.node},
		{"dns", x.dns},
		{"database", x.database},
		{"provisioning", x.provisioning},
		{"web", x.web},
	} {
		if in.reads(s.name) {
			s.ask()
		}
	}
	return append(slices.Clone(in.known), x.found...).Sorted()
}

// reads reports whether the file has the section and the daemon reads it.
func (in *input) reads(section string) bool {
	return in.file.Has(section) && (in.section == "" || in.section == section)
}

// add notes a problem, unless the file itself has one at that key already.
func (x *examination) add(key, format string, args ...any) {
	if key == "" || !x.known.Has(key) {
		x.found = append(x.found, x.file.Problem(key, format, args...))
	}
}

// addAll notes each of joined errors, without the name of the package that found it.
func (x *examination) addAll(key, pkg string, err error) {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		for _, e := range many.Unwrap() {
			x.addAll(key, pkg, e)
		}
		return
	}
	if err != nil {
		x.add(key, "%s", strings.TrimPrefix(err.Error(), pkg+": "))
	}
}

// certified notes what a daemon announces and the certificate lacks.
func (x *examination) certified(key string, role subjects.Role, addresses []netip.Addr) {
	if x.creds == nil {
		return
	}
	if id := x.creds.Identity(); !id.Has(role) {
		x.add(key, "the certificate of %s does not carry the role %s: issue one with --role %s", id.Node, role, role)
	}
	x.addressed(key, addresses)
}

// addressed notes addresses that the certificate lacks.
func (x *examination) addressed(key string, addresses []netip.Addr) {
	for _, a := range addresses {
		if id := x.id(); id != nil && a.IsValid() && !id.MayUse(a) {
			x.add(key, "the certificate of %s does not hold the address %s: issue one with --ip %s", id.Node, a, a)
		}
	}
}

// sdk is a node of the network that is never run: it says what it would refuse
// to announce. nil if there can be none.
func (x *examination) sdk() *overlay.Node {
	if x.creds == nil || x.known.Has("network.brokers[0]") {
		return nil
	}
	n, err := overlay.New(overlay.Config{Credentials: x.creds, Brokers: x.file.Network.Brokers})
	if err != nil {
		x.addAll("network.brokers", "overlay", err)
		return nil
	}
	return n
}

func (x *examination) broker() {
	before := len(x.found)
	x.certified("broker", subjects.EventServer, x.file.Broker.Addresses)
	if x.creds == nil || x.within("broker") || len(x.found) > before { // it would say the same again
		return
	}
	for _, p := range components.Broker(x.file, x.creds).Validate() {
		x.add(strings.TrimSuffix("broker."+p.Key, "."), "%s", p.Text)
	}
}

func (x *examination) manager() {
	x.certified("manager", subjects.Manager, x.file.Manager.Addresses)
	x.sdk()
}

func (x *examination) dns() {
	x.certified("dns", subjects.DNSManager, x.file.DNS.Addresses)
	x.sdk()
}

func (x *examination) node() {
	nc := nodeagent.Config{Roles: x.roles}
	bad := make(map[int]bool)
	for _, p := range nc.Validate(x.id()) {
		bad[p.Role] = true
		x.add(config.ProblemKey(p), "%s", p.Text)
	}
	n := x.sdk()
	for i, r := range x.roles {
		key := fmt.Sprintf("node.role[%d]", i)
		if n == nil || bad[i] || x.within(key) {
			continue
		}
		if _, err := n.Join(overlay.Member{
			Role: r.Role, Addresses: r.Addresses, Priority: r.Priority, Weight: r.Weight, Version: r.Version, Attrs: r.Attrs,
		}); err != nil {
			x.add(key, "%v", err)
		}
	}
}

// within reports whether the file has a problem with key or below it: then the
// package behind it would only say the same again.
func (x *examination) within(key string) bool {
	for _, p := range x.known {
		if p.Key == key || strings.HasPrefix(p.Key, key+".") || strings.HasPrefix(p.Key, key+"[") {
			return true
		}
	}
	return x.known.Has(key)
}

func (x *examination) database() {
	x.certified("database", subjects.Database, nil)
	keys := x.databaseKeys
	for _, p := range x.databases.Validate(nil) {
		if p.Database >= 0 {
			x.add(strings.TrimSuffix(keys[p.Database]+"."+p.Key, "."), "%s", p.Text)
		}
	}
	for i, d := range x.databases.Databases {
		x.addressed(keys[i], d.Addresses)
	}
	x.sdk()
}

func (x *examination) provisioning() {
	c := x.file.Provisioning
	x.certified("provisioning", subjects.ProvisioningServer, c.Addresses)
	own := c.TLSCertificate != "" && c.TLSKey != ""
	if !own && x.creds != nil && !slices.Contains(x.creds.Certificate().Leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		x.add("provisioning", "the node's certificate is not for TLS servers: issue one with --role %s, or set tls_certificate and tls_key",
			subjects.ProvisioningServer)
	}
	x.sdk()
}

func (x *examination) web() {
	x.certified("web", subjects.Monitor, nil)
	if web.Loopback(x.file.Web.Listen) || x.creds == nil {
		x.sdk()
		return
	}
	if !slices.Contains(x.creds.Certificate().Leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		x.add("web.listen", "is not loopback, and the node's certificate is not for TLS servers: issue one with --role %s and without --role %s",
			subjects.Monitor, subjects.Operator)
	}
	x.sdk()
}
