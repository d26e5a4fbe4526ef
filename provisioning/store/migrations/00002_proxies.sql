-- The tables that Kamailio and OpenSIPS read: a projection of the model, written
-- in the same transactions and never read back. Their columns are those of both;
-- a proxy asks for columns by name. Which of the two may start is said by the
-- rows of "version".

-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS version (
	id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
	table_name VARCHAR(32) NOT NULL,
	table_version INT UNSIGNED NOT NULL DEFAULT 0,
	UNIQUE KEY table_name_idx (table_name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS subscriber (
	id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
	username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	password VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	ha1 VARCHAR(128) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	ha1b VARCHAR(128) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	ha1_sha256 VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	ha1_sha512t256 VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	UNIQUE KEY account_idx (username, domain)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS dbaliases (
	id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
	alias_username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	alias_domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	UNIQUE KEY alias_idx (alias_username, alias_domain),
	KEY target_idx (username, domain)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS domain (
	id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
	domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	did VARCHAR(64) NULL,
	attrs VARCHAR(255) NULL,
	last_modified DATETIME NOT NULL DEFAULT '2000-01-01 00:00:01',
	UNIQUE KEY domain_idx (domain)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS domain_attrs (
	id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
	did VARCHAR(64) NOT NULL,
	name VARCHAR(32) NOT NULL,
	type INT UNSIGNED NOT NULL,
	value VARCHAR(255) NOT NULL,
	last_modified DATETIME NOT NULL DEFAULT '2000-01-01 00:00:01',
	KEY domain_attrs_idx (did, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS grp (
	id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
	username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	grp VARCHAR(64) COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	last_modified DATETIME NOT NULL DEFAULT '2000-01-01 00:00:01',
	UNIQUE KEY account_group_idx (username, domain, grp),
	KEY by_group (grp)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS trusted (
	id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
	src_ip VARCHAR(50) COLLATE utf8mb4_bin NOT NULL,
	proto VARCHAR(4) NOT NULL,
	from_pattern VARCHAR(64) NULL,
	ruri_pattern VARCHAR(64) NULL,
	tag VARCHAR(64) NULL,
	priority INT NOT NULL DEFAULT 0,
	KEY peer_idx (src_ip)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS address (
	id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
	grp INT UNSIGNED NOT NULL DEFAULT 1,
	ip_addr VARCHAR(50) COLLATE utf8mb4_bin NOT NULL,
	ip VARCHAR(50) COLLATE utf8mb4_bin NOT NULL,
	mask INT NOT NULL DEFAULT 32,
	port SMALLINT UNSIGNED NOT NULL DEFAULT 0,
	proto VARCHAR(4) NOT NULL DEFAULT 'any',
	pattern VARCHAR(64) NULL,
	context_info VARCHAR(64) NULL,
	tag VARCHAR(64) NULL,
	KEY address_idx (ip_addr, mask)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
