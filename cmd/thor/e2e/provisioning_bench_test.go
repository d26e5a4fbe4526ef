//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
)

// Goals of the provisioning server.
const (
	goalGets  = 1000 // a second
	goalAdds  = 200  // a second
	goalRSS   = 100  // MiB
	goalRatio = 3.0  // addAccount to its bare SQL, medians
)

// TestBenchProvisioning measures a provisioning server on a real database that
// writes each transaction to disk: eight clients that add, update and get for as
// many seconds as THOR_BENCH_PROVISIONING says, then one client whose addAccount
// is compared with its own SQL statements sent bare.
func TestBenchProvisioning(t *testing.T) {
	seconds, err := strconv.Atoi(os.Getenv("THOR_BENCH_PROVISIONING"))
	if err != nil || seconds < 1 {
		t.Skip("set THOR_BENCH_PROVISIONING to seconds, or use just bench-provisioning")
	}
	need(t, "mariadbd", "mariadb-server")
	n := startNetwork(t, "127.93", "--nodes", "1")
	c := n.soap(t)
	c.must(t, "Sip", "addDomain", "<domain><domain>bench.example</domain></domain>")
	processes := []string{"provisioning1", "mariadb", "node1", "broker1", "broker2", "broker3"}
	before := make(map[string]time.Duration)
	for _, p := range processes {
		before[p] = cpu(t, n.pid(t, p))
	}
	calls := mixed(t, n, time.Duration(seconds)*time.Second)
	for _, p := range processes {
		t.Logf("CPU time of %-13s %.3f ms a call", p, ms(cpu(t, n.pid(t, p))-before[p])/float64(calls))
	}
	rss := memory(t, n.pid(t, "provisioning1"))
	t.Logf("memory: at most %d MiB resident (goal %d)", rss, goalRSS)
	if rss > goalRSS {
		t.Errorf("%d MiB", rss)
	}
	compare(t, n, c)
}

// mixed: each client adds an account, updates it, and gets five. It returns how
// many calls there were.
func mixed(t *testing.T, n *network, lasting time.Duration) int64 {
	const clients, getsPerAdd = 8, 5
	var adds, updates, gets, failed atomic.Int64
	var mu sync.Mutex
	times := make(map[string][]time.Duration)
	end := time.Now().Add(lasting)
	var wg sync.WaitGroup
	for k := range clients {
		c := n.soap(t)
		wg.Go(func() {
			took := make(map[string][]time.Duration)
			do := func(count *atomic.Int64, op, params string) {
				began := time.Now()
				if _, err := c.call("Sip", op, params); err != nil {
					if failed.Add(1) == 1 {
						t.Error(err)
					}
					return
				}
				took[op] = append(took[op], time.Since(began))
				count.Add(1)
			}
			for i := 0; time.Now().Before(end); i++ {
				name := fmt.Sprintf("c%d-%d", k, i)
				do(&adds, "addAccount", account(name, "bench.example", "<password>secret</password><firstName>B</firstName><groups><item>free-pstn</item></groups>"))
				do(&updates, "updateAccount", account(name, "bench.example", "<lastName>C</lastName>"))
				for j := range getsPerAdd {
					do(&gets, "getAccount", sipID(fmt.Sprintf("c%d-%d", k, max(0, i-j)), "bench.example"))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for op, ds := range took {
				times[op] = append(times[op], ds...)
			}
		})
	}
	wg.Wait()
	s := lasting.Seconds()
	for op, ds := range times {
		slices.Sort(ds)
		t.Logf("%-13s n %6d  %5.0f/s  median %.2f ms  p99 %.2f ms  max %.1f ms", op, len(ds), float64(len(ds))/s,
			ms(ds[len(ds)/2]), ms(ds[len(ds)*99/100]), ms(ds[len(ds)-1]))
	}
	if g, a := float64(gets.Load())/s, float64(adds.Load())/s; g < goalGets || a < goalAdds || failed.Load() > 0 {
		t.Errorf("%.0f gets and %.0f adds a second, %d errors; goals %d, %d, 0", g, a, failed.Load(), goalGets, goalAdds)
	}
	return adds.Load() + updates.Load() + gets.Load()
}

// cpu is the time a process has spent, to 10 ms.
func cpu(t *testing.T, pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// memory is the most a process ever had resident, in MiB.
func memory(t *testing.T, pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	kb, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kb >> 10
}

// compare measures addAccount of one client and, in turn with it, the statements
// it makes, each add in one transaction sent by a plain loop.
func compare(t *testing.T, n *network, c *soapClient) {
	const samples = 300
	db, err := sql.Open("mysql", "root@unix("+filepath.Join(n.dir, "mariadb", "sock")+")/thor")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	statements := recordAdd(t, n, conn, c)
	t.Logf("addAccount makes %d statements: %s", len(statements), strings.Join(verbs(statements), ", "))
	var soap, bare []time.Duration
	for i := range samples {
		name := fmt.Sprintf("single%d", i)
		began := time.Now()
		if _, err := c.call("Sip", "addAccount", account(name, "bench.example", "<password>secret</password>")); err != nil {
			t.Fatal(err)
		}
		soap = append(soap, time.Since(began))
		began = time.Now()
		replay(t, conn, statements, fmt.Sprintf("bare%d", i))
		bare = append(bare, time.Since(began))
	}
	slices.Sort(soap)
	slices.Sort(bare)
	ratio := ms(soap[samples/2]) / ms(bare[samples/2])
	t.Logf("addAccount    n %d  median %.2f ms  p99 %.2f ms", samples, ms(soap[samples/2]), ms(soap[samples*99/100]))
	t.Logf("its bare SQL  n %d  median %.2f ms  p99 %.2f ms: %.2f times (goal %.0f)", samples, ms(bare[samples/2]), ms(bare[samples*99/100]), ratio, goalRatio)
	if ratio > goalRatio {
		t.Errorf("addAccount takes %.2f times its SQL", ratio)
	}
}

// recorded is the account whose statements are taken.
const recorded = "recorded0"

// recordAdd takes from the server's log what one addAccount sends. The log has
// values only for statements that were prepared after it was switched on.
func recordAdd(t *testing.T, n *network, conn *sql.Conn, c *soapClient) []string {
	t.Helper()
	ctx := context.Background()
	exec := func(q string) {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	exec("SET GLOBAL log_output = 'TABLE'")
	exec("SET GLOBAL general_log = ON")
	n.control(t, "stop", "provisioning1")
	n.control(t, "start", "provisioning1")
	eventually(t, 30*time.Second, "the provisioning server is back", func() bool {
		_, err := c.call("Sip", "getAccount", sipID("c0-0", "bench.example"))
		return err == nil
	})
	if _, err := c.call("Sip", "addAccount", account(recorded, "bench.example", "<password>secret</password>")); err != nil {
		t.Fatal(err)
	}
	exec("SET GLOBAL general_log = OFF")
	rows, err := conn.QueryContext(ctx, `SELECT l.command_type, l.argument FROM mysql.general_log l WHERE l.command_type IN ('Execute', 'Query')
		AND l.thread_id = (SELECT MIN(thread_id) FROM mysql.general_log WHERE argument LIKE 'INSERT INTO sip_accounts_meta%') ORDER BY l.event_time`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var kind, q string
		if err := rows.Scan(&kind, &q); err != nil {
			t.Fatal(err)
		}
		out = append(out, q)
	}
	// The connection has other transactions too: the one that names the account.
	mine := slices.IndexFunc(out, func(q string) bool { return strings.Contains(q, recorded) })
	for begin := mine; begin >= 0; begin-- {
		if end := slices.Index(out[max(mine, 0):], "COMMIT"); out[begin] == "START TRANSACTION" && end >= 0 {
			return out[begin : mine+end+1]
		}
	}
	t.Fatalf("recorded %q", out)
	return nil
}

// replay sends the statements for another account; the account's number is the
// one that its own insertion made.
func replay(t *testing.T, conn *sql.Conn, statements []string, name string) {
	t.Helper()
	ctx := context.Background()
	const inserted = "INSERT INTO sip_accounts_data"
	for _, q := range statements {
		q = strings.ReplaceAll(q, recorded, name)
		if strings.HasPrefix(q, inserted) {
			q = regexp.MustCompile(`VALUES \(\d+`).ReplaceAllString(q, "VALUES (LAST_INSERT_ID()")
		}
		if strings.HasPrefix(q, "SELECT") {
			rows, err := conn.QueryContext(ctx, q)
			if err != nil {
				t.Fatal(q, err)
			}
			for rows.Next() {
			}
			rows.Close()
			continue
		}
		if _, err := conn.ExecContext(ctx, q); err != nil {
			t.Fatal(q, err)
		}
	}
}

func verbs(statements []string) []string {
	out := make([]string, len(statements))
	for i, q := range statements {
		out[i] = strings.Join(strings.Fields(q)[:min(3, len(strings.Fields(q)))], " ")
	}
	return out
}
