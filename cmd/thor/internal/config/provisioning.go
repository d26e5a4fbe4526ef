package config

import (
	"net/netip"
	"net/url"

	"thor/dbagent/location"
	"thor/provisioning"
	"thor/provisioning/push"
	"thor/provisioning/store"
)

// Provisioning configures the provisioning server.
type Provisioning struct {
	Server provisioning.Config `toml:",inline"`
	Push   push.Config         `toml:",inline"`
	Store  store.Config        `toml:",inline"`
	// Address of metrics and health.
	HTTP string `toml:"http" form:"listen" default:"127.0.0.1:9506" off:"yes"`
	// Addresses that the server announces.
	Addresses []netip.Addr `toml:"addresses" default:"(those of the certificate)"`
	// Priority that the server announces.
	Priority int `toml:"priority" unit:"lower is preferred" range:"1..65535" default:"(none)"`
	// Name of the administrator.
	Admin string `toml:"admin" default:"(none: customers and resellers only)"`
	// File that holds the administrator's password alone.
	AdminPasswordFile string `toml:"admin_password_file" form:"file" secret:"yes" reload:"yes" default:"(none, required with admin)"`
	// Certificate in PEM that clients trust, with its chain.
	TLSCertificate string `toml:"tls_certificate" form:"file" reload:"yes" default:"(the node's own certificate)"`
	// Key of tls_certificate in PEM.
	TLSKey string `toml:"tls_key" form:"file" secret:"yes" reload:"yes" default:"(none, required with tls_certificate)"`
	// Database that is used whatever is announced.
	Database *ProvisioningDatabase `toml:"database" default:"(the one that thor_database announces)"`
}

// ProvisioningDatabase is a database that is used whatever is announced.
type ProvisioningDatabase struct {
	// Location "mysql://USER@HOST:PORT/NAME".
	URI location.DSN `toml:"uri" required:"yes"`
	// File that holds the password alone.
	PasswordFile string `toml:"password_file" form:"file" secret:"yes" default:"(none)"`
	// Authorities in PEM that the server's certificate must be from, for tls=true.
	CA string `toml:"ca" form:"file" default:"(the system's)"`
}

func (p *Provisioning) check(f *File) {
	if s := p.Server.URL; s != "" {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			f.d.add("provisioning.url", "is not a URL like \"https://ngnpro.example.net:9200\"")
		}
	}
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
}
