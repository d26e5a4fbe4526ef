package up

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const galeraExample = "../../../../deploy/examples/galera.cnf"

// The cluster of thor up shows what the example promises: it has its times.
func TestTheClusterHasTheTimesOfTheExample(t *testing.T) {
	b, err := os.ReadFile(galeraExample)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^wsrep_provider_options\s*= "(.*)"$`).FindSubmatch(b)
	if m == nil {
		t.Fatal("the example has no wsrep_provider_options")
	}
	var times []string
	for o := range strings.SplitSeq(string(m[1]), ";") {
		if k, _, _ := strings.Cut(o, "."); slices.Contains([]string{"evs", "gmcast", "pc"}, k) {
			times = append(times, o)
		}
	}
	if want := strings.Join(times, ";"); galeraTimes != want {
		t.Errorf("thor up has\n%s\nthe example\n%s", galeraTimes, want)
	}
}

// MariaDB knows all options of the example.
func TestMariaDBReadsTheExample(t *testing.T) {
	server, err := program("mariadbd")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("mariadbd is missing (Debian package mariadb-server)")
		}
		t.Skip("mariadbd is missing (Debian package mariadb-server)")
	}
	out, err := exec.Command(server, "--defaults-file="+galeraExample, "--user="+userName(), "--help", "--verbose").CombinedOutput()
	text := string(out)
	if err != nil { // an option that it does not know
		t.Fatalf("%v: %s", err, text[max(0, len(text)-2000):])
	}
	for option, want := range map[string]string{"wsrep-sst-method": "mariabackup", "innodb-autoinc-lock-mode": "2", "wsrep-on": "TRUE", "wsrep-cluster-name": "thor"} {
		if !regexp.MustCompile(`(?m)^` + option + `\s+` + want + `$`).MatchString(text) {
			t.Errorf("%s is not %s", option, want)
		}
	}
}

// Each node asks the others for its state before the one that is written to.
func TestDonorsAreTheOthers(t *testing.T) {
	g := &galera{members: []galeraMember{{name: "galera1"}, {name: "galera2"}, {name: "galera3"}}}
	for i, want := range []string{"galera3,galera2,", "galera3,galera1,", "galera2,galera1,"} {
		if c := g.config("/d", i, "secret"); !strings.Contains(c, "\nwsrep-sst-donor = "+want+"\n") {
			t.Errorf("galera%d: %s", i+1, c)
		}
	}
}

func TestClusterAndPowerDNSExcludeEachOther(t *testing.T) {
	o := options(t, "127.203", "127.0.0.1:15341")
	o.Galera, o.PowerDNS = true, true
	if err := o.Check(); err == nil || !strings.Contains(err.Error(), "--galera") {
		t.Errorf("%v", err)
	}
}
