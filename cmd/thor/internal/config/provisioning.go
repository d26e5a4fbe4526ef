package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	"thor/subjects"
)

// Provisioning configures the provisioning server.
type Provisioning struct {
	Listen            string                `toml:"listen"`                           // host:port of HTTPS; default ":9200"
	URL               string                `toml:"url"`                              // where clients reach it; default: https:// and listen
	Addresses         []netip.Addr          `toml:"addresses"`                        // to announce; default: the certificate's
	Priority          int                   `toml:"priority"`                         // lower is preferred
	Admin             string                `toml:"admin"`                            // name of the administrator; none: customers only
	AdminPasswordFile string                `toml:"admin_password_file" reload:"yes"` // holds the password alone
	TLSCertificate    string                `toml:"tls_certificate" reload:"yes"`     // PEM file; default: the node's own certificate
	TLSKey            string                `toml:"tls_key" reload:"yes"`             // PEM file
	Cleared           []string              `toml:"cleared"`                          // roles that may have profiles with their digests; default sip_proxy
	Database          *ProvisioningDatabase `toml:"database"`                         // default: the one that thor_database announces
	Proxy             string                `toml:"proxy"`                            // whose tables are kept: kamailio (default), opensips
	ClearPasswords    *bool                 `toml:"clear_text_passwords"`             // keep them beside their digests; default true
}

// ProvisioningDatabase is a database that is used whatever is announced.
type ProvisioningDatabase struct {
	URI          string `toml:"uri"`           // mysql://USER@HOST:PORT/NAME
	PasswordFile string `toml:"password_file"` // holds the password alone
	CA           string `toml:"ca"`            // PEM file, for tls=true; default: the system's
}

func (p *Provisioning) check(f *File) {
	if p.Listen != "" {
		f.hostPort("provisioning.listen", p.Listen)
	}
	if p.URL != "" {
		u, err := url.Parse(p.URL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			f.d.add("provisioning.url", "is not a URL like \"https://ngnpro.example.net:9200\"")
		}
	}
	f.priority("provisioning.priority", p.Priority)
	both := func(a, b, keyA, keyB string) {
		if a != "" && b == "" && !f.failed(keyB) {
			f.d.add(keyA, "stands without %s", keyB)
		}
	}
	both(p.Admin, p.AdminPasswordFile, "provisioning.admin", "provisioning.admin_password_file")
	both(p.AdminPasswordFile, p.Admin, "provisioning.admin_password_file", "provisioning.admin")
	both(p.TLSCertificate, p.TLSKey, "provisioning.tls_certificate", "provisioning.tls_key")
	both(p.TLSKey, p.TLSCertificate, "provisioning.tls_key", "provisioning.tls_certificate")
	if len(p.Admin) > 64 {
		f.d.add("provisioning.admin", "is longer than 64 bytes")
	}
	for i, r := range p.Cleared {
		if _, err := subjects.ParseRole(r); err != nil {
			f.d.add(fmt.Sprintf("provisioning.cleared[%d]", i), "%v", err)
		}
	}
	if !slices.Contains([]string{"", "kamailio", "opensips"}, p.Proxy) {
		f.d.add("provisioning.proxy", "%q is not kamailio or opensips", p.Proxy)
	}
	if p.Database != nil {
		f.require("provisioning.database.uri", p.Database.URI)
	}
}

func (p *Provisioning) fill(f *File) {
	set(&p.Listen, ":9200")
	set(&p.Proxy, "kamailio")
	if p.Cleared == nil {
		p.Cleared = []string{string(subjects.SIPProxy)}
	}
	keep := true
	if p.ClearPasswords == nil {
		p.ClearPasswords = &keep
	}
	for _, path := range []*string{&p.AdminPasswordFile, &p.TLSCertificate, &p.TLSKey} {
		f.abs(path)
	}
	if d := p.Database; d != nil {
		f.abs(&d.PasswordFile)
		f.abs(&d.CA)
	}
}
