// Package config reads the TOML files of thor's daemons. It reports every
// problem of a file at once, each with its line, and never guesses: an unknown
// key, a number without a unit, a port out of range is an error.
//
// One file may hold the sections of several daemons of a host; each reads
// [network], [log] and its own. Order of precedence: defaults, file, THOR_*
// environment. Relative paths are relative to the file.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"thor/overlay/setting"
)

// MaxSize is the size in bytes above which a file is refused unread.
const MaxSize = 1 << 20

// A File is a whole configuration file. Sections that are absent are nil.
type File struct {
	Path string
	// What every daemon needs to join.
	Network Network `toml:"network"`
	// What is logged, to standard error, and where audit entries go.
	Log Log `toml:"log"`
	// The event server.
	Broker *Broker `toml:"broker"`
	// The network manager.
	Manager *Manager `toml:"manager"`
	// The node agent.
	Node *Node `toml:"node"`
	// The name server.
	DNS *DNS `toml:"dns"`
	// The database locator: either one database in the section itself, or several as
	// [[database.candidate]], of which the best is announced.
	Database *Database `toml:"database"`
	// The provisioning server.
	Provisioning *Provisioning `toml:"provisioning"`
	// The web view.
	Web *Web `toml:"web"`

	d *decoder
}

// Load reads and checks a file. The error is Problems, in the order of the lines.
func Load(path string) (*File, error) {
	f, ps := Examine(path)
	if len(ps) > 0 {
		return nil, ps
	}
	return f, nil
}

// parse reads a file as it is; nil, and why, if that cannot be done.
func parse(path string) (*File, Problems) {
	doc, err := read(path)
	if err != nil {
		return nil, Problems{{File: path, Text: err.Error()}}
	}
	f := &File{Path: path, d: &decoder{file: path}}
	f.d.parse(doc, f)
	if f.d.lines == nil {
		return nil, f.d.problems
	}
	return f, nil
}

// Examine is Load for those who look for further problems: the file comes with
// its problems, and is nil only when it could not be parsed. A value that has a
// problem is not to be relied on; Has tells which.
func Examine(path string) (*File, Problems) {
	f, problems := parse(path)
	if f == nil {
		return nil, problems
	}
	f.environment()
	f.fill()
	f.check()
	return f, f.d.problems.Sorted()
}

func read(path string) ([]byte, error) {
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, errors.New("no such file")
	case err != nil:
		var pe *os.PathError
		if errors.As(err, &pe) {
			return nil, pe.Err
		}
		return nil, err
	case fi.IsDir():
		return nil, errors.New("is a directory, name the file")
	case fi.Size() > MaxSize:
		return nil, fmt.Errorf("is larger than %d bytes", MaxSize)
	}
	h, err := os.Open(path)
	if err != nil {
		return nil, errors.New("cannot be opened: " + errors.Unwrap(err).Error())
	}
	defer h.Close()
	doc, err := io.ReadAll(io.LimitReader(h, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil, errors.New("is empty")
	}
	if bytes.HasPrefix(doc, []byte("\xef\xbb\xbf")) {
		return nil, errors.New("begins with a byte order mark, save it as plain UTF-8")
	}
	return doc, nil
}

// sections are those the file has, by name; names are those it could have.
func (f *File) sections() (present map[string]any, names []string) {
	present = make(map[string]any)
	for _, k := range setting.Keys(reflect.ValueOf(f).Elem()) {
		if k.Value.Kind() != reflect.Pointer {
			continue
		}
		names = append(names, k.Name)
		if !k.Value.IsNil() {
			present[k.Name] = k.Value.Interface()
		}
	}
	return present, names
}

// fill sets what the file leaves open, and makes paths absolute.
func (f *File) fill() {
	if n := f.Node; n != nil {
		n.fill()
	}
	if d := f.Database; d != nil {
		d.fill()
	}
	setting.Fill(f)
	setting.Walk(f, func(k setting.Key) {
		switch constant, _ := k.Default(); {
		case k.Value.Kind() != reflect.String:
			return
		case k.Value.IsZero() && strings.HasPrefix(constant, "$") && k.Tag("off") == "":
			k.Value.SetString(os.Getenv(constant[1:]))
		}
		if form := k.Tag("form"); form == "file" || form == "directory" {
			k.Value.SetString(f.abs(k.Value.String()))
		}
	})
}

// abs is the path relative to the file's directory, if it is relative at all.
func (f *File) abs(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	dir, _ := filepath.Abs(filepath.Dir(f.Path)) // fails only without a working directory
	return filepath.Join(dir, p)
}

// Has reports whether the file has the section of a daemon's subcommand.
func (f *File) Has(section string) bool {
	present, _ := f.sections()
	_, ok := present[section]
	return ok
}

// Line is the line at which key, or the nearest table around it, stands; 0 when nowhere.
func (f *File) Line(key string) int { return f.d.line(key) }

// Problem is what is wrong with the value of key, found by who knows more of it
// than this package does.
func (f *File) Problem(key, format string, args ...any) Problem {
	return Problem{File: f.Path, Line: f.Line(key), Key: key, Text: fmt.Sprintf(format, args...)}
}
