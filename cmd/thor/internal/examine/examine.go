// Package examine finds what is wrong with a configuration beyond the file
// itself: what the certificate does not allow, and what the daemons that read
// the file would refuse. Nothing is started, changed or connected to.
package examine

import (
	"fmt"
	"strings"

	"thor/cmd/thor/internal/components"
	"thor/cmd/thor/internal/config"
	"thor/dbagent"
	"thor/identity"
	"thor/nodeagent/password"
	"thor/provisioning/login"
)

// A Report is what an examination found.
type Report struct {
	File        *config.File          // nil: it cannot be parsed
	Credentials *identity.Credentials // nil: they cannot be used
	Problems    config.Problems       // in the order of the file's lines
	// Others are problems of sections that the daemon does not read: no reason to
	// refuse the file.
	Others config.Problems
	// Warnings are what the file may say, and what may be regretted: no reason to refuse it.
	Warnings config.Problems
}

// All examines every section of a file.
func All(path string) Report { return Daemon(path, "", nil) }

// Daemon examines a file for the daemon of one section. held are the credentials
// in use; nil: those that the file names are read.
func Daemon(path, section string, held *identity.Credentials) Report {
	in, others := gather(path, section, held)
	if in.file == nil {
		return Report{Problems: in.known, Others: others}
	}
	return Report{File: in.file, Credentials: in.creds, Problems: problems(in), Others: others, Warnings: in.warnings()}
}

// warnings are those of the sections that are read.
func (in *input) warnings() (ps config.Problems) {
	if !in.reads("broker") {
		return nil
	}
	for _, p := range components.Broker(in.file, in.creds).Warnings() {
		ps = append(ps, in.file.Problem("broker."+p.Key, "%s", p.Text))
	}
	return ps
}

// gather reads the file, and the files that it names.
func gather(path, section string, held *identity.Credentials) (in *input, others config.Problems) {
	in = &input{section: section, creds: held}
	if in.file, in.known = config.Examine(path); in.file == nil {
		return in, nil
	}
	if section != "" {
		in.known, others = in.known.Of("network", "log", section)
	}
	if held == nil {
		in.credentials()
	}
	if in.reads("node") {
		roles, ps := components.NodeRoles(in.file, in.id())
		in.roles, in.unread = roles, append(in.unread, ps...)
		in.readTestAccounts()
	}
	if in.reads("database") {
		in.readDatabases()
	}
	if in.reads("dns") {
		in.readPowerDNS()
	}
	if in.reads("provisioning") {
		in.readProvisioning()
	}
	return in, others
}

// cannotRead notes that what key names cannot be used; nil is no problem.
func (in *input) cannotRead(key string, err error) {
	if err != nil {
		in.unread = append(in.unread, in.file.Problem(key, "%v", err))
	}
}

// credentials loads what the file names; the problem is at the key of the file
// at fault.
func (in *input) credentials() {
	n := in.file.Network.Files
	for key, file := range map[string]string{"network.certificate": n.Cert, "network.key": n.Key, "network.ca": n.CA} {
		if file == "" || in.known.Has(key) {
			return
		}
	}
	creds, err := identity.Load(n)
	if err == nil {
		in.creds = creds
		return
	}
	key := "network.certificate"
	switch {
	case strings.HasPrefix(err.Error(), n.Key+":"):
		key = "network.key"
	case strings.HasPrefix(err.Error(), n.CA+":"):
		key = "network.ca"
	}
	in.cannotRead(key, err)
}

func (in *input) readTestAccounts() {
	if in.section != "" { // a daemon reads them again and again
		return
	}
	for i, r := range in.roles {
		for j, c := range r.Checks {
			if c.PasswordFile != "" {
				in.cannotRead(fmt.Sprintf("node.role[%d].check[%d].password_file", i, j), password.Check(c.PasswordFile))
			}
		}
	}
}

func (in *input) readDatabases() {
	dc, keys, ps := components.Databases(in.file, in.id())
	in.databases, in.databaseKeys, in.unread = dc, keys, append(in.unread, ps...)
	for i, d := range dc.Databases {
		if d.PasswordFile != "" && in.section == "" { // a daemon reads it again and again
			in.cannotRead(keys[i]+".password_file", dbagent.CheckPasswordFile(d.PasswordFile))
		}
	}
}

func (in *input) readPowerDNS() {
	_, ps := components.PowerDNS(in.file)
	in.unread = append(in.unread, ps...)
	p := in.file.DNS.PowerDNS
	if p != nil && p.Writer.PasswordFile != "" && in.section == "" { // a daemon reads it again and again
		in.cannotRead("dns.powerdns.password_file", dbagent.CheckPasswordFile(p.Writer.PasswordFile))
	}
}

func (in *input) readProvisioning() {
	c := in.file.Provisioning
	if d := c.Database; d != nil {
		_, err := components.Roots(d.CA)
		in.cannotRead("provisioning.database.ca", err)
	}
	if c.Admin != "" && c.AdminPasswordFile != "" {
		_, err := login.ReadAdmin(c.Admin, c.AdminPasswordFile)
		in.cannotRead("provisioning.admin_password_file", err)
	}
	if c.TLSCertificate != "" && c.TLSKey != "" {
		_, err := components.KeyPair(c.TLSCertificate, c.TLSKey)
		in.cannotRead("provisioning.tls_certificate", err)
	}
}

// id is the certificate's identity, nil without one.
func (in *input) id() *identity.Identity {
	if in.creds == nil {
		return nil
	}
	return in.creds.Identity()
}
