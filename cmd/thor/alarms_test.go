package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const deployed = "../../deploy/"

// series are the names under which Prometheus has a metric.
func series(m metric) []string {
	if m.kind == "histogram" {
		return []string{m.name + "_bucket", m.name + "_sum", m.name + "_count"}
	}
	return []string{m.name}
}

var (
	named    = regexp.MustCompile(`\bthor_[a-z_]+\b`)
	inQuotes = regexp.MustCompile(`"[^"]*"`)
)

// unknownMetrics are the names in an expression that no daemon has.
func unknownMetrics(known []string, expr string) (out []string) {
	for _, name := range named.FindAllString(inQuotes.ReplaceAllString(expr, ""), -1) {
		if !slices.Contains(known, name) {
			out = append(out, name)
		}
	}
	return out
}

func knownSeries(t *testing.T) (known []string) {
	for _, m := range allMetrics(t) {
		known = append(known, series(m)...)
	}
	return known
}

// expressions are all strings at the key expr of a JSON document.
func expressions(v any) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		for k, in := range v {
			if s, ok := in.(string); ok && k == "expr" {
				out = append(out, s)
			}
			out = append(out, expressions(in)...)
		}
	case []any:
		for _, in := range v {
			out = append(out, expressions(in)...)
		}
	}
	return out
}

func TestTheDashboardNamesMetricsThatThereAre(t *testing.T) {
	b, err := os.ReadFile(deployed + "grafana/thor.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	known, all := knownSeries(t), expressions(doc)
	if len(all) < 30 {
		t.Errorf("%d expressions", len(all))
	}
	for _, expr := range all {
		for _, name := range unknownMetrics(known, expr) {
			t.Errorf("%s: no daemon has it: %s", name, expr)
		}
	}
	if got := unknownMetrics(known, `sum(thor_members{role="thor_manager"}) + thor_memberz`); len(got) != 1 || got[0] != "thor_memberz" {
		t.Errorf("%v", got)
	}
}

// Every alarm names metrics that there are, and has a test with made-up series.
func TestAlarmsNameMetricsThatThereAreAndFireInTheirTests(t *testing.T) {
	rules, err := os.ReadFile(deployed + "prometheus/thor.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(deployed + "prometheus/thor.rules.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	known := knownSeries(t)
	for l := range strings.Lines(string(rules)) {
		if strings.HasPrefix(strings.TrimSpace(l), "#") {
			continue
		}
		for _, name := range unknownMetrics(known, l) {
			t.Errorf("%s: no daemon has it: %s", name, l)
		}
	}
	alarms := regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(string(rules), -1)
	if len(alarms) < 12 {
		t.Errorf("%d alarms", len(alarms))
	}
	for _, a := range alarms {
		if !strings.Contains(string(tests), "        alertname: "+a[1]+"\n        exp_alerts:\n          - ") {
			t.Errorf("%s has no test in which it fires", a[1])
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is missing: Debian package prometheus")
		}
		t.Skip("promtool is missing: Debian package prometheus")
	}
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "rules", "thor.rules.yml"}, {"test", "rules", "thor.rules.test.yml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = deployed + "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
