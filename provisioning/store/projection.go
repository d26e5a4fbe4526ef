package store

import (
	"slices"

	"thor/provisioning/ngnpro"
)

// What Kamailio and OpenSIPS read. Every change of the model is followed by the
// one here in the same transaction.

// maxProxyPassword is the size of subscriber.password.
const maxProxyPassword = 64

func (t *tx) projectDomain(name string) error {
	_, err := t.exec("INSERT INTO domain (domain, last_modified) VALUES (?, UTC_TIMESTAMP())", name)
	return err
}

// projectAccount writes the account's password and digests.
func (t *tx) projectAccount(id ngnpro.SipID, p *profile) error {
	const q = "INSERT INTO subscriber (username, domain, password, ha1, ha1b, ha1_sha256, ha1_sha512t256) VALUES (?, ?, ?, ?, ?, ?, ?)" +
		" ON DUPLICATE KEY UPDATE password = VALUES(password), ha1 = VALUES(ha1), ha1b = VALUES(ha1b)," +
		" ha1_sha256 = VALUES(ha1_sha256), ha1_sha512t256 = VALUES(ha1_sha512t256)"
	_, err := t.exec(q, id.Username, id.Domain, proxyPassword(p.Password), p.HA1, p.HA1B, p.SHA256, p.SHA512)
	return err
}

// proxyPassword is the password as far as it fits: digests do as well.
func proxyPassword(s string) string {
	if len([]rune(s)) > maxProxyPassword {
		return ""
	}
	return s
}

// projectGroups replaces the groups an account was in by those it is in.
func (t *tx) projectGroups(id ngnpro.SipID, was, is []string) error {
	for _, g := range was {
		if !slices.Contains(is, g) {
			if _, err := t.exec("DELETE FROM grp WHERE username = ? AND domain = ? AND grp = ?", id.Username, id.Domain, g); err != nil {
				return err
			}
		}
	}
	for _, g := range is {
		if !slices.Contains(was, g) {
			const q = "INSERT INTO grp (username, domain, grp, last_modified) VALUES (?, ?, ?, UTC_TIMESTAMP())"
			if _, err := t.exec(q, id.Username, id.Domain, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// projectAlias writes where an alias leads.
func (t *tx) projectAlias(id, target ngnpro.SipID) error {
	const q = "INSERT INTO dbaliases (alias_username, alias_domain, username, domain) VALUES (?, ?, ?, ?)" +
		" ON DUPLICATE KEY UPDATE username = VALUES(username), domain = VALUES(domain)"
	_, err := t.exec(q, id.Username, id.Domain, target.Username, target.Domain)
	return err
}
