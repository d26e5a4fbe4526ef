-- What bounded the calls of accounts that were deleted: who may not loosen it does
-- not get an account without it by making the account anew.

-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS sip_accounts_former (
	username VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	domain VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
	quota INT NOT NULL DEFAULT 0,
	call_limit INT NOT NULL DEFAULT 0,
	prepaid BOOLEAN NOT NULL DEFAULT FALSE,
	change_date DATETIME NOT NULL,
	PRIMARY KEY (username, domain)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
