package main

import (
	"errors"
	"fmt"
	"strings"

	"thor/broker"
	"thor/cmd/thor/internal/config"
	"thor/dbagent"
	"thor/identity"
	"thor/nodeagent"
	"thor/overlay"
	"thor/subjects"
)

// An examination finds what is wrong with a configuration beyond the file
// itself: each daemon's own package is asked, without starting anything.
type examination struct {
	f       *config.File
	section string                // of the daemon; empty: all of the file
	creds   *identity.Credentials // nil if they cannot be used
	known   config.Problems       // of the file itself, not to be repeated
	found   config.Problems
}

// examiners ask the packages behind the sections of a file.
var examiners = map[string]func(*examination){
	"broker":       (*examination).broker,
	"manager":      (*examination).manager,
	"node":         (*examination).node,
	"dns":          (*examination).dns,
	"database":     (*examination).database,
	"provisioning": (*examination).provisioning,
}

// examine reads the file and finds everything that the daemon of section would
// refuse; of every daemon of the file if section is empty. held are the
// credentials in use; nil: those that the file names are read.
func examine(path, section string, held *identity.Credentials) (*config.File, *identity.Credentials, config.Problems) {
	f, creds, own, others := examineFor(path, section, held)
	return f, creds, append(own, others...).Sorted()
}

// examineFor is examine for the daemon of section: others are the problems of the
// sections that it does not read, which are no reason to refuse the file.
func examineFor(path, section string, held *identity.Credentials) (f *config.File, creds *identity.Credentials, own, others config.Problems) {
	f, known := config.Examine(path)
	if f == nil {
		return nil, nil, known, nil
	}
	if section != "" {
		known, others = known.Of("network", "log", section)
	}
	x := &examination{f: f, section: section, creds: held, known: known}
	if section != "" && !f.Has(section) {
		x.add("", "has no [%s] section", section)
	}
	if held == nil {
		x.credentials()
	}
	if x.creds != nil && x.creds.Identity().Domain != f.Network.Domain {
		x.add("network.domain", "is %q, but the certificate is for %q", f.Network.Domain, x.creds.Identity().Domain)
	}
	for name, ask := range examiners {
		if f.Has(name) && (section == "" || section == name) {
			ask(x)
		}
	}
	return f, x.creds, append(known, x.found...).Sorted(), others
}

// add notes a problem, unless the file itself has one at that key already.
func (x *examination) add(key, format string, args ...any) {
	if key == "" || !x.known.Has(key) {
		x.found = append(x.found, x.f.Problem(key, format, args...))
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

// credentials loads what the file names; the fault is at the key of the file at fault.
func (x *examination) credentials() {
	n := &x.f.Network
	for key, file := range map[string]string{"network.certificate": n.Certificate, "network.key": n.Key, "network.ca": n.CA} {
		if file == "" || x.known.Has(key) {
			return
		}
	}
	creds, err := identity.Load(identity.Files{Cert: n.Certificate, Key: n.Key, CA: n.CA})
	if err == nil {
		x.creds = creds
		return
	}
	key := "network.certificate"
	switch {
	case strings.HasPrefix(err.Error(), n.Key+":"):
		key = "network.key"
	case strings.HasPrefix(err.Error(), n.CA+":"):
		key = "network.ca"
	}
	x.add(key, "%v", err)
}

// certified notes that the certificate lacks what a daemon announces.
func (x *examination) certified(key string, role subjects.Role, m overlay.Member) {
	if x.creds == nil {
		return
	}
	id := x.creds.Identity()
	if !id.Has(role) {
		x.add(key, "the certificate of %s does not carry the role %s: issue one with --role %s", id.Node, role, role)
	}
	for _, a := range m.Addresses {
		if !id.MayUse(a) {
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
	n, err := overlay.New(overlay.Config{Credentials: x.creds, Brokers: x.f.Network.Brokers})
	if err != nil {
		x.addAll("network.brokers", "overlay", err)
		return nil
	}
	return n
}

func (x *examination) broker() {
	before := len(x.found)
	x.certified("broker", subjects.EventServer, overlay.Member{Addresses: x.f.Broker.Addresses})
	if x.creds == nil || x.within("broker") || len(x.found) > before { // it would say the same again
		return
	}
	_, err := broker.New(brokerConfig(x.f, x.creds))
	x.addAll("broker", "broker", err)
}

func (x *examination) manager() {
	x.certified("manager", subjects.Manager, overlay.Member{Addresses: x.f.Manager.Addresses})
	x.sdk()
}

func (x *examination) dns() {
	x.certified("dns", subjects.DNSManager, overlay.Member{Addresses: x.f.DNS.Addresses})
	zc := zoneConfig(x.f)
	for _, p := range zc.Validate() {
		key := "dns." + p.Key
		if p.Key == "domain" {
			key = "network.domain"
		}
		var i int
		if n, _ := fmt.Sscanf(p.Key, "service[%d]", &i); n == 1 && i >= len(x.f.DNS.Services) {
			key = "dns.default_services" // after those of the file
		}
		x.add(key, "%s", p.Text)
	}
	x.sdk()
}

func (x *examination) node() {
	roles, unread := nodeRoles(x.f, x.id())
	x.found = append(x.found, unread...)
	nc := nodeagent.Config{Roles: roles}
	bad := make(map[int]bool)
	for _, p := range nc.Validate(x.id()) {
		bad[p.Role] = true
		key := "node"
		if p.Role >= 0 {
			key = fmt.Sprintf("node.role[%d]", p.Role)
		}
		if p.Check >= 0 {
			key = fmt.Sprintf("%s.check[%d]", key, p.Check)
		}
		if !x.within(key) {
			x.add(key, "%s", p.Text)
		}
	}
	n := x.sdk()
	for i, r := range roles {
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
	if x.creds != nil && !x.creds.Identity().Has(subjects.Database) {
		x.certified("database", subjects.Database, overlay.Member{})
	}
	dc, keys, bad := databaseConfig(x.f, x.id())
	for _, p := range bad {
		x.add(p.Key, "%s", p.Text)
	}
	for _, p := range dc.Validate(nil) {
		if p.Database >= 0 && !x.within(keys[p.Database]) && !bad.Has(keys[p.Database]+".uri") {
			x.add(keys[p.Database], "%s", p.Text)
		}
	}
	for i, d := range dc.Databases {
		x.certified(keys[i], subjects.Database, overlay.Member{Addresses: d.Addresses})
		if d.PasswordFile != "" && x.section == "" { // a daemon reads it again and again
			if err := dbagent.CheckPasswordFile(d.PasswordFile); err != nil {
				x.add(keys[i]+".password_file", "%v", err)
			}
		}
	}
	x.sdk()
}

// id is the certificate's identity, nil without one.
func (x *examination) id() *identity.Identity {
	if x.creds == nil {
		return nil
	}
	return x.creds.Identity()
}
