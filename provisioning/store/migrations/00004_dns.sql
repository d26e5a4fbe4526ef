-- Records of the network's zone, which name servers ask for.

-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS dns_zones (
	id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	name VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	info VARCHAR(1024) NOT NULL DEFAULT '',
	customer_id INT NOT NULL DEFAULT 0,
	reseller_id INT NOT NULL DEFAULT 0,
	change_date DATETIME NOT NULL,
	UNIQUE KEY by_name (name),
	KEY by_customer (customer_id),
	KEY by_reseller (reseller_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS dns_records (
	id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
	zone VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	name VARCHAR(253) COLLATE utf8mb4_bin NOT NULL,
	type VARCHAR(16) COLLATE utf8mb4_bin NOT NULL,
	value VARCHAR(600) COLLATE utf8mb4_bin NOT NULL,
	priority INT NOT NULL DEFAULT 0,
	ttl INT NOT NULL DEFAULT 3600,
	owner_id INT NOT NULL DEFAULT 0,
	customer_id INT NOT NULL DEFAULT 0,
	reseller_id INT NOT NULL DEFAULT 0,
	change_date DATETIME NOT NULL,
	KEY by_zone (zone),
	KEY by_name (name),
	KEY by_customer (customer_id),
	KEY by_reseller (reseller_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

INSERT IGNORE INTO sip_counters (name, value) VALUES ('records', 0);
