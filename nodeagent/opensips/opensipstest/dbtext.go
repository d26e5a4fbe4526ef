package opensipstest

import (
	"os"
	"path/filepath"
	"strings"
)

// load reads a table if the second of its file's time is later than what was read.
func (f *Fake) load(name string, read func(rows [][]string)) bool {
	fi, err := os.Stat(filepath.Join(f.Dir, name))
	if err != nil {
		return false
	}
	if f.files == nil {
		f.files = make(map[string]*file)
	}
	if was := f.files[name]; was != nil && fi.ModTime().Unix() <= was.second {
		return true
	}
	b, err := os.ReadFile(filepath.Join(f.Dir, name))
	if err != nil {
		return false
	}
	f.files[name] = &file{fi.ModTime().Unix()}
	head, rest, _ := strings.Cut(string(b), "\n")
	columns := len(strings.Fields(head))
	var rows [][]string
	for line := range strings.Lines(rest) {
		row := split(strings.TrimSuffix(line, "\n"))
		if len(row) != columns {
			return false
		}
		rows = append(rows, row)
	}
	read(rows)
	return true
}

// split takes a row of db_text apart: fields end with ":", which "\:" is not.
func split(line string) (out []string) {
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			i++
			b.WriteByte(line[i])
		case c == ':':
			out = append(out, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	return append(out, b.String())
}

// The columns are those of scripts/dbtext/opensips (4.0).

func (f *Fake) readDestinations(rows [][]string) {
	f.destinations = nil
	for _, r := range rows {
		state := map[string]string{"0": "Active", "1": "Inactive", "2": "Probing"}[r[4]]
		f.destinations = append(f.destinations, destination{number(r[1]), r[2], state, r[6], r[7], r[8]})
	}
}

func (f *Fake) readRelays(rows [][]string) {
	f.relays = nil
	for _, r := range rows {
		url, weight, _ := strings.Cut(r[1], "=")
		f.relays = append(f.relays, relay{set: number(r[2]), url: url, weight: max(1, number(weight))})
	}
}

func (f *Fake) readAddresses(rows [][]string) {
	f.addresses = nil
	for _, r := range rows {
		f.addresses = append(f.addresses, address{number(r[1]), r[2], r[3]})
	}
}
