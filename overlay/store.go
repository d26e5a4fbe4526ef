package overlay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"thor/identity/atomicfile"
	"thor/subjects"
)

// A store is the directory that survives the process. The zero value keeps
// nothing.
type store struct {
	dir  string
	part bool // of some roles: the status kept is a part
}

// partVersion is that of a file with a part, which others would take for the whole:
// they refuse it. It is no version of the wire, now or later.
const partVersion = 1001

// Names in the directory. statusFile holds two lines of JSON: a fileHead and the
// status. An older copy is kept since a disk may return what was never written.
const (
	statusFile = "status.json"
	olderFile  = "status.json.1"
	badFile    = "status.json.bad"
	drainFile  = "drain.json"
	drainBad   = "drain.json.bad"
)

// fileHead proves that the line after it is as it was written.
type fileHead struct {
	V      int       `json:"v"`
	Sum    string    `json:"sha256"` // of Saved as it is written and the status
	Saved  time.Time `json:"saved"`
	Length int       `json:"bytes"`
}

func (h *fileHead) sum(body []byte) string {
	x := sha256.New()
	x.Write([]byte(h.Saved.UTC().Format(time.RFC3339Nano)))
	x.Write(body)
	return hex.EncodeToString(x.Sum(nil))
}

// open makes the directory if need be, and removes what a process that was killed
// while it wrote has left there.
func (s store) open() error {
	if s.dir == "" {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	for _, name := range []string{statusFile, drainFile, listsFile} {
		atomicfile.RemoveTemporary(filepath.Join(s.dir, name))
	}
	return nil
}

// saveStatus keeps encoded and moves the copy before it aside.
func (s store) saveStatus(encoded []byte, now time.Time) error {
	if s.dir == "" {
		return nil
	}
	version := subjects.Version
	if s.part {
		version = partVersion
	}
	h := fileHead{V: version, Saved: now.UTC().Round(0), Length: len(encoded)}
	h.Sum = h.sum(encoded)
	head, err := json.Marshal(&h)
	if err != nil {
		return fmt.Errorf("save status: %w", err)
	}
	b := bytes.Join([][]byte{head, encoded, nil}, []byte("\n"))
	if err := s.keepOlder(); err != nil {
		return fmt.Errorf("save status: %w", err)
	}
	if err := s.write(statusFile, b); err != nil {
		return fmt.Errorf("save status: %w", err)
	}
	return nil
}

// write replaces a file.
func (s store) write(name string, b []byte) error {
	return atomicfile.Write(filepath.Join(s.dir, name), b, 0o600)
}

// keepOlder makes the newest copy the older one too: a hard link, so that a process
// killed before the next copy is written leaves the newest in place.
func (s store) keepOlder() error {
	path := filepath.Join(s.dir, statusFile)
	link := filepath.Join(s.dir, "."+olderFile)
	older := filepath.Join(s.dir, olderFile)
	_ = os.Remove(link)
	err := os.Link(path, link)
	switch {
	case err == nil:
		defer os.Remove(link) // rename leaves it if both are one file already
		return os.Rename(link, older)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrPermission): // a file system without links
		return os.Rename(path, older)
	}
	return err
}

// loadStatus finds the newest good copy of a status of domain. All that is wrong
// with the copies it passed over is in err, also when it found one; s is nil
// when there is none. A bad newest copy is set aside so that it never becomes
// the older one.
func (s store) loadStatus(domain string) (st *subjects.Status, encoded []byte, saved time.Time, err error) {
	if s.dir == "" {
		return nil, nil, time.Time{}, nil
	}
	var faults []error
	for _, name := range []string{statusFile, olderFile} {
		st, encoded, saved, err = s.readStatus(name, domain)
		if err == nil {
			return st, encoded, saved, errors.Join(faults...)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		faults = append(faults, fmt.Errorf("refuse %s: %w", filepath.Join(s.dir, name), err))
		if name == statusFile {
			_ = os.Rename(filepath.Join(s.dir, statusFile), filepath.Join(s.dir, badFile)) // evidence; best effort
		}
	}
	return nil, nil, time.Time{}, errors.Join(faults...)
}

func (s store) readStatus(name, domain string) (*subjects.Status, []byte, time.Time, error) {
	none := func(err error) (*subjects.Status, []byte, time.Time, error) { return nil, nil, time.Time{}, err }
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		return none(err)
	}
	head, body, _ := bytes.Cut(b, []byte("\n"))
	body = bytes.TrimSuffix(body, []byte("\n"))
	var h fileHead
	if err := json.Unmarshal(head, &h); err != nil {
		return none(errors.New("damaged: no head"))
	}
	switch {
	case h.V != subjects.Version && (h.V != partVersion || !s.part):
		return none(fmt.Errorf("written by another version: v is %d, not %d", h.V, subjects.Version))
	case len(body) != h.Length:
		return none(fmt.Errorf("damaged: %d bytes, not %d", len(body), h.Length))
	case h.sum(body) != h.Sum:
		return none(errors.New("damaged: wrong checksum"))
	}
	st, err := subjects.ParseStatus(body)
	if err != nil {
		return none(err)
	}
	if st.Domain != "" && domain != "" && st.Domain != domain {
		return none(fmt.Errorf("status of domain %s, not %s", st.Domain, domain))
	}
	return st, body, h.Saved, nil
}

// drains is the content of drainFile: what an operator drained and has not
// resumed. The role subjects.Agent stands for all roles of the process.
type drains struct {
	V       int                     `json:"v"`
	Drained []subjects.Role         `json:"drained"`
	Drains  map[subjects.Role]Drain `json:"drains,omitempty"` // of those that have a reason or an end
}

func (s store) saveDrains(d drainSet) error {
	if s.dir == "" {
		return errors.New("keep drain: no state directory")
	}
	x := drains{V: subjects.Version, Drained: slices.AppendSeq([]subjects.Role{}, maps.Keys(d)), Drains: maps.Clone(d)}
	slices.Sort(x.Drained)
	maps.DeleteFunc(x.Drains, func(_ subjects.Role, d Drain) bool { return d.plain() })
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("keep drain: %w", err)
	}
	if err := s.write(drainFile, append(b, '\n')); err != nil {
		return fmt.Errorf("keep drain: %w", err)
	}
	return nil
}

// loadDrains returns what can be read. The error tells what could not: an entry
// is passed over, a file that is none of ours is set aside.
func (s store) loadDrains() (out drainSet, err error) {
	if s.dir == "" {
		return nil, nil
	}
	path := filepath.Join(s.dir, drainFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var d struct {
		Drained []json.RawMessage          `json:"drained"`
		Drains  map[string]json.RawMessage `json:"drains"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, errors.Join(fmt.Errorf("refuse %s: %w", path, err), os.Rename(path, filepath.Join(s.dir, drainBad)))
	}
	var faults []error
	out = make(drainSet)
	for i, raw := range d.Drained {
		var r subjects.Role
		err := json.Unmarshal(raw, &r)
		if err == nil && r != subjects.Agent {
			_, err = subjects.ParseRole(string(r))
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("refuse entry %d of %s: %w", i+1, path, err))
			continue
		}
		var x Drain
		if raw := d.Drains[string(r)]; raw != nil && json.Unmarshal(raw, &x) != nil {
			faults = append(faults, fmt.Errorf("refuse reason and end of %s in %s", r, path))
		}
		out[r] = x
	}
	return out, errors.Join(faults...)
}

// ForgetStatus removes the status that an earlier run of a process kept in its
// Config.StateDir, and leaves what an operator drained. It is for a supervisor
// that starts a whole network anew, whose members of before are all gone.
func ForgetStatus(stateDir string) error {
	var errs []error
	for _, name := range []string{statusFile, olderFile, shownFile} {
		if err := os.Remove(filepath.Join(stateDir, name)); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
