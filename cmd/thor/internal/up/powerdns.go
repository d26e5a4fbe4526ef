package up

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"thor/identity/atomicfile"
	"thor/subjects"
)

// powerDNSSchema are the tables of PowerDNS, as Debian installs them.
const powerDNSSchema = "/usr/share/pdns-backend-mysql/schema/schema.mysql.sql"

// checkPowerDNS tells what is missing for a PowerDNS.
func checkPowerDNS() error {
	_, err1 := program("pdns_server")
	_, err2 := program("mariadbd")
	_, err3 := os.Stat(powerDNSSchema)
	if errors.Join(err1, err2, err3) != nil {
		return errors.New("--powerdns needs the Debian packages pdns-server, pdns-backend-mysql and mariadb-server")
	}
	return nil
}

// powerDNS adds a PowerDNS beside the i-th name server, and returns what has the name
// server keep its database. All of them read one database: one name server writes it,
// and another one when that is gone.
func (l *layout) powerDNS(i int, dns string) (toml string, err error) {
	if l.powerDNSPassword == "" {
		if err := l.powerDNSDatabase(); err != nil {
			return "", err
		}
	}
	name := fmt.Sprintf("powerdns%d", i)
	dir := filepath.Join(l.Dir, name)
	listen := l.powerDNSAddresses()[i-1]
	l.net.PowerDNS = append(l.net.PowerDNS, listen)
	host, port, _ := net.SplitHostPort(listen)
	server, err := program("pdns_server")
	if err != nil {
		return "", err
	}
	if err := l.service(name, dns, subjects.DNSManager, syscall.SIGTERM, server,
		"--config-dir="+dir, "--guardian=no", "--daemon=no", "--disable-syslog", "--write-pid=no"); err != nil {
		return "", err
	}
	at := netip.AddrPortFrom(l.mariadb.addr, uint16(l.mariadb.port))
	// It is there as long as the name server, and needs the database when it starts.
	c := l.children[len(l.children)-1]
	c.tier, c.prepare = controlTier, func(ctx context.Context) error { return awaitListener(ctx, at.String()) }
	conf := fmt.Sprintf("launch=gmysql\ngmysql-host=%s\ngmysql-port=%d\ngmysql-dbname=pdns\ngmysql-user=pdns\ngmysql-password=%s\ngmysql-dnssec=yes\n"+
		"local-address=%s\nlocal-port=%s\nsocket-dir=%s\nsecurity-poll-suffix=\nreceiver-threads=1\ndistributor-threads=1\n",
		at.Addr(), at.Port(), l.powerDNSPassword, host, port, dir)
	if err := atomicfile.Write(filepath.Join(dir, "pdns.conf"), []byte(conf), 0o600); err != nil {
		return "", err
	}
	secret := filepath.Join(l.Dir, dns, "powerdns.password")
	if err := atomicfile.Write(secret, []byte(l.powerDNSPassword+"\n"), 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("\n[dns.powerdns]\nuri = \"mysql://pdns@%s/pdns\"\npassword_file = %q\ncontrol = %q\nserver = %q\n",
		at, filepath.Base(secret), filepath.Join(dir, "pdns.controlsocket"), listen), nil
}

// powerDNSDatabase has MariaDB make the database that PowerDNS reads. It runs these
// statements at each start, each on one line.
func (l *layout) powerDNSDatabase() error {
	b, err := os.ReadFile(powerDNSSchema)
	if err != nil {
		return err
	}
	l.powerDNSPassword = rand.Text()
	l.mariadb.sql = append(l.mariadb.sql, "CREATE DATABASE IF NOT EXISTS pdns;",
		"CREATE OR REPLACE USER 'pdns'@'%' IDENTIFIED BY '"+l.powerDNSPassword+"';", "GRANT SELECT, INSERT, UPDATE, DELETE ON pdns.* TO 'pdns'@'%';", "USE pdns;")
	for statement := range strings.SplitSeq(string(b), ";") {
		line := strings.Join(strings.Fields(statement), " ")
		for _, kind := range []string{"CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX "} {
			if rest, ok := strings.CutPrefix(line, kind); ok {
				line = kind + "IF NOT EXISTS " + rest
			}
		}
		if line != "" {
			l.mariadb.sql = append(l.mariadb.sql, line+";")
		}
	}
	l.mariadb.sql = append(l.mariadb.sql, "")
	return nil
}

// awaitListener waits until a server takes connections.
func awaitListener(ctx context.Context, addr string) error {
	const most = 60 * time.Second
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("nothing listens at %s after %s: %w", addr, most, err)
		}
	}
}
