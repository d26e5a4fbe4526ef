package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

//go:embed table.toml
var tableFile []byte

// A mutant is one change of the source that is wrong.
type mutant struct {
	Name   string `toml:"name"`
	File   string `toml:"file"` // from the root of the module
	Old    string `toml:"old"`  // stands there exactly once
	New    string `toml:"new"`
	Breaks string `toml:"breaks"` // what the change breaks
	// Packages whose unit tests must notice; none: that of the file.
	Packages []string `toml:"packages"`
	// Equivalent says why no unit test can notice.
	Equivalent string `toml:"equivalent"`
	// Unseen says why the simulation does not notice. It counts as a survivor there all the same.
	Unseen string `toml:"unseen"`
}

// readTable reads the table of mutants.
func readTable() ([]*mutant, error) { return parseTable(tableFile) }

func parseTable(data []byte) ([]*mutant, error) {
	var t struct {
		Mutants []*mutant `toml:"mutant"`
	}
	d := toml.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return nil, fmt.Errorf("table.toml: %w", err)
	}
	var errs []error
	names := map[string]bool{}
	for i, m := range t.Mutants {
		switch {
		case m.Name == "" || m.File == "" || m.Old == "" || m.Breaks == "":
			errs = append(errs, fmt.Errorf("table.toml: mutant %d (%s) lacks a name, file, old text or what it breaks", i+1, m.Name))
		case names[m.Name]:
			errs = append(errs, fmt.Errorf("table.toml: two mutants are called %s", m.Name))
		case m.Old == m.New:
			errs = append(errs, fmt.Errorf("table.toml: %s changes nothing", m.Name))
		}
		names[m.Name] = true
		if len(m.Packages) == 0 {
			m.Packages = []string{path.Dir(m.File)}
		}
	}
	return t.Mutants, errors.Join(errs...)
}

// apply is the file with the change; root is the directory of the module.
func (m *mutant) apply(root string) ([]byte, error) {
	src, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.File)))
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(src), m.Old); n != 1 {
		return nil, fmt.Errorf("%s: %s has its old text %d times, not once: %s", m.Name, m.File, n, firstLine(m.Old))
	}
	return []byte(strings.Replace(string(src), m.Old, m.New, 1)), nil
}
