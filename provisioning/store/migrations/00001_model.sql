-- thor's own model. Every statement may run again: a migration that was cut off
-- begins anew.

-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS sip_counters (
	name VARCHAR(32) COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
	value BIGINT UNSIGNED NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

INSERT IGNORE INTO sip_counters (name, value) VALUES ('revision', 0), ('trimmed', 0);

CREATE TABLE IF NOT EXISTS sip_revisions (
	domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	kind TINYINT UNSIGNED NOT NULL DEFAULT 0 COMMENT '0 deleted, 1 account, 2 alias',
	revision BIGINT UNSIGNED NOT NULL DEFAULT 0,
	pending BIGINT UNSIGNED NULL COMMENT 'revision that no node has acknowledged',
	change_date DATETIME NOT NULL,
	PRIMARY KEY (domain, username),
	KEY by_revision (revision),
	KEY by_pending (pending)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS sip_domains (
	domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
	customer_id INT NOT NULL DEFAULT 0,
	reseller_id INT NOT NULL DEFAULT 0,
	certificate TEXT NULL,
	private_key TEXT NULL,
	match_ip_address VARCHAR(255) NOT NULL DEFAULT '',
	match_sip_domain VARCHAR(255) NOT NULL DEFAULT '',
	verify_cert BOOLEAN NOT NULL DEFAULT FALSE,
	require_cert BOOLEAN NOT NULL DEFAULT FALSE,
	last_username BIGINT NOT NULL DEFAULT 1000 COMMENT 'allocated last',
	change_date DATETIME NOT NULL,
	KEY by_customer (customer_id),
	KEY by_reseller (reseller_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS sip_accounts_meta (
	id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	first_name VARCHAR(64) NOT NULL DEFAULT '',
	last_name VARCHAR(64) NOT NULL DEFAULT '',
	email VARCHAR(255) NOT NULL DEFAULT '',
	customer_id INT NOT NULL DEFAULT 0,
	reseller_id INT NOT NULL DEFAULT 0,
	owner_id INT NOT NULL DEFAULT 0,
	create_date DATETIME NOT NULL,
	change_date DATETIME NOT NULL,
	UNIQUE KEY by_name (username, domain),
	KEY by_domain (domain),
	KEY by_customer (customer_id),
	KEY by_reseller (reseller_id),
	KEY by_owner (owner_id),
	KEY by_change (change_date),
	KEY by_email (email)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS sip_accounts_data (
	id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	account_id INT NOT NULL,
	profile JSON NOT NULL,
	UNIQUE KEY by_account (account_id),
	CONSTRAINT sip_accounts_data_account FOREIGN KEY (account_id) REFERENCES sip_accounts_meta (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW sip_accounts AS
SELECT m.id, m.username, m.domain, m.first_name, m.last_name, m.email, m.customer_id, m.reseller_id, m.owner_id,
	m.create_date, m.change_date, d.profile
FROM sip_accounts_meta m JOIN sip_accounts_data d ON d.account_id = m.id;

CREATE TABLE IF NOT EXISTS sip_aliases (
	username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	target_username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	target_domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	owner_id INT NOT NULL DEFAULT 0,
	customer_id INT NOT NULL DEFAULT 0,
	reseller_id INT NOT NULL DEFAULT 0,
	change_date DATETIME NOT NULL,
	PRIMARY KEY (username, domain),
	KEY by_domain (domain),
	KEY by_target (target_username, target_domain),
	KEY by_customer (customer_id),
	KEY by_reseller (reseller_id),
	KEY by_owner (owner_id),
	KEY by_change (change_date)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS sip_phonebook (
	username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	uri VARCHAR(255) COLLATE utf8mb4_bin NOT NULL,
	name VARCHAR(128) NOT NULL DEFAULT '',
	grp VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	PRIMARY KEY (username, domain, uri),
	KEY by_group (username, domain, grp)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS sip_trusted (
	ip VARCHAR(50) COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
	description VARCHAR(255) NOT NULL DEFAULT '',
	call_limit INT NOT NULL DEFAULT 0,
	msteams BOOLEAN NOT NULL DEFAULT FALSE,
	tenant VARCHAR(128) NOT NULL DEFAULT '',
	carrier_name VARCHAR(128) NOT NULL DEFAULT '',
	originator VARCHAR(128) NOT NULL DEFAULT '',
	prefix VARCHAR(64) NOT NULL DEFAULT '',
	strip INT NOT NULL DEFAULT 0,
	blocked BOOLEAN NOT NULL DEFAULT FALSE,
	enum_lookup BOOLEAN NOT NULL DEFAULT FALSE,
	transit BOOLEAN NOT NULL DEFAULT FALSE,
	prepaid BOOLEAN NOT NULL DEFAULT FALSE,
	tags VARCHAR(64) NOT NULL DEFAULT '',
	billing_id VARCHAR(64) NOT NULL DEFAULT '',
	auth_token VARCHAR(128) NOT NULL DEFAULT '',
	owner_id INT NOT NULL DEFAULT 0,
	customer_id INT NOT NULL DEFAULT 0,
	reseller_id INT NOT NULL DEFAULT 0,
	change_date DATETIME NOT NULL,
	KEY by_customer (customer_id),
	KEY by_reseller (reseller_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS voicemail_accounts (
	mailbox INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	name VARCHAR(128) NOT NULL DEFAULT '',
	password VARCHAR(64) NOT NULL DEFAULT '',
	email VARCHAR(255) NOT NULL DEFAULT '',
	info VARCHAR(1024) NOT NULL DEFAULT '',
	delete_sent BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'messages, once they were sent by e-mail',
	change_date DATETIME NOT NULL,
	UNIQUE KEY by_name (username, domain)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 AUTO_INCREMENT=1000001;

CREATE TABLE IF NOT EXISTS voicemail_announcements (
	mailbox INT NOT NULL PRIMARY KEY,
	message MEDIUMBLOB NOT NULL,
	CONSTRAINT voicemail_announcements_mailbox FOREIGN KEY (mailbox) REFERENCES voicemail_accounts (mailbox) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS enum_ranges (
	id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	prefix VARCHAR(32) COLLATE utf8mb4_bin NOT NULL,
	tld VARCHAR(128) COLLATE utf8mb4_bin NOT NULL,
	ttl INT NOT NULL DEFAULT 3600,
	min_digits INT NOT NULL DEFAULT 0,
	max_digits INT NOT NULL DEFAULT 0,
	size INT NOT NULL DEFAULT 0,
	used INT NOT NULL DEFAULT 0,
	serial INT NOT NULL DEFAULT 1,
	nameservers VARCHAR(2048) NOT NULL DEFAULT '',
	info VARCHAR(1024) NOT NULL DEFAULT '',
	customer_id INT NOT NULL DEFAULT 0,
	reseller_id INT NOT NULL DEFAULT 0,
	change_date DATETIME NOT NULL,
	UNIQUE KEY by_prefix (prefix, tld),
	KEY by_customer (customer_id),
	KEY by_reseller (reseller_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS enum_numbers (
	id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	number VARCHAR(32) COLLATE utf8mb4_bin NOT NULL,
	tld VARCHAR(128) COLLATE utf8mb4_bin NOT NULL,
	range_id INT NOT NULL,
	owner_id INT NOT NULL DEFAULT 0,
	info VARCHAR(1024) NOT NULL DEFAULT '',
	customer_id INT NOT NULL DEFAULT 0,
	reseller_id INT NOT NULL DEFAULT 0,
	change_date DATETIME NOT NULL,
	UNIQUE KEY by_number (number, tld),
	KEY by_range (range_id),
	KEY by_customer (customer_id),
	KEY by_reseller (reseller_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS enum_mappings (
	id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	number_id INT NOT NULL,
	type VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	mapto VARCHAR(255) NOT NULL,
	priority INT NOT NULL DEFAULT 5,
	ttl INT NOT NULL DEFAULT 3600,
	KEY by_number (number_id),
	KEY by_mapto (mapto),
	CONSTRAINT enum_mappings_number FOREIGN KEY (number_id) REFERENCES enum_numbers (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS customers (
	id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	reseller_id INT NOT NULL DEFAULT 0,
	impersonate INT NOT NULL DEFAULT 0,
	reseller_active BOOLEAN NOT NULL DEFAULT FALSE,
	username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	password_hash VARCHAR(100) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	balance DECIMAL(16,4) NOT NULL DEFAULT 0,
	credit DECIMAL(16,4) NOT NULL DEFAULT 0,
	company_code VARCHAR(64) NOT NULL DEFAULT '',
	first_name VARCHAR(64) NOT NULL DEFAULT '',
	last_name VARCHAR(64) NOT NULL DEFAULT '',
	organization VARCHAR(128) NOT NULL DEFAULT '',
	tel VARCHAR(64) NOT NULL DEFAULT '',
	fax VARCHAR(64) NOT NULL DEFAULT '',
	sip VARCHAR(255) NOT NULL DEFAULT '',
	enum VARCHAR(64) NOT NULL DEFAULT '',
	mobile VARCHAR(64) NOT NULL DEFAULT '',
	email VARCHAR(255) NOT NULL DEFAULT '',
	web VARCHAR(255) NOT NULL DEFAULT '',
	address VARCHAR(255) NOT NULL DEFAULT '',
	postcode VARCHAR(32) NOT NULL DEFAULT '',
	city VARCHAR(128) NOT NULL DEFAULT '',
	state VARCHAR(128) NOT NULL DEFAULT '',
	country VARCHAR(64) NOT NULL DEFAULT '',
	timezone VARCHAR(64) NOT NULL DEFAULT '',
	language VARCHAR(32) NOT NULL DEFAULT '',
	vat_number VARCHAR(64) NOT NULL DEFAULT '',
	bank_account VARCHAR(128) NOT NULL DEFAULT '',
	billing_email VARCHAR(255) NOT NULL DEFAULT '',
	billing_address VARCHAR(255) NOT NULL DEFAULT '',
	change_date DATETIME NOT NULL,
	UNIQUE KEY by_username (username),
	KEY by_reseller (reseller_id),
	KEY by_change (change_date)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS customer_properties (
	customer_id INT NOT NULL,
	name VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	category VARCHAR(64) NOT NULL DEFAULT '',
	value VARCHAR(1024) NOT NULL DEFAULT '',
	permission VARCHAR(32) NOT NULL DEFAULT '',
	PRIMARY KEY (customer_id, name),
	CONSTRAINT customer_properties_customer FOREIGN KEY (customer_id) REFERENCES customers (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
