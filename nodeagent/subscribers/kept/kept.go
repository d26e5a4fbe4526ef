package kept

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/rs/zerolog"
)

// Name is that of the files with the supervisor; each ends in a letter besides.
const Name = "subscribers-"

// The kinds of records.
const (
	put  = 'p'
	drop = 'd'
)

// room is how many bytes a log has for what comes, besides half of what it holds
// when it is made.
const room = 4 << 20

// A Supervisor holds files for the next process: systemd, by a package of cmd/thor that
// agents do not import.
type Supervisor interface {
	// Store returns once it is certain that the file is held, or why not.
	Store(name string, f *os.File) error
	// Forget lets go of the files of a name.
	Forget(name string)
}

// A Log keeps records. Its methods may be called from any goroutine.
type Log struct {
	owner string
	sup   Supervisor
	log   zerolog.Logger

	mu   sync.Mutex
	now  *area // what the supervisor holds; nil: nothing is kept
	next *area // what it is to hold, while it has not confirmed that
	name string
	seq  uint64
}

// A Record is what was put: a profile, or a key that was dropped.
type Record struct {
	Profile []byte
	Dropped string
}

// Open takes over what the supervisor handed to this process, the files by their
// names, and returns the records of the newest log of owner in the order in which
// they came. Whatever is wrong with a log is logged, and it is refused.
func Open(owner string, files map[string]*os.File, sup Supervisor, log zerolog.Logger) (*Log, []Record) {
	l := &Log{owner: owner, sup: sup, log: log}
	var records []Record
	each := func(p []byte) error {
		switch p[0] {
		case put:
			records = append(records, Record{Profile: slices.Clone(p[1:])})
		case drop:
			records = append(records, Record{Dropped: string(p[1:])})
		default:
			return fmt.Errorf("a record of kind %q", p[0])
		}
		return nil
	}
	for _, name := range l.newestFirst(files) {
		f := files[name]
		a, err := (*area)(nil), error(nil)
		if l.now == nil {
			a, err = openArea(f, owner, each)
		}
		if a == nil {
			if err != nil {
				records = nil
				log.Error().Err(err).Str("file", name).Msg("kept profiles refused")
			}
			_ = f.Close()
			sup.Forget(name)
			continue
		}
		l.now = a
		l.name = name
		l.seq = a.seq
	}
	return l, records
}

// newestFirst are the names by falling sequence; those that cannot be read last.
func (l *Log) newestFirst(files map[string]*os.File) []string {
	seq := make(map[string]uint64)
	var names []string
	for name, f := range files {
		names = append(names, name)
		if a, err := openArea(f, l.owner, func([]byte) error { return nil }); err == nil {
			seq[name] = a.seq
			a.unmap()
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(seq[b], seq[a]), cmp.Compare(a, b)) })
	return names
}

// Put keeps a profile; in the memory of the next process when it returns.
func (l *Log) Put(profile []byte) { l.append(put, profile) }

// Drop keeps that the key is no longer held.
func (l *Log) Drop(key string) { l.append(drop, []byte(key)) }

func (l *Log) append(kind byte, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range []**area{&l.now, &l.next} {
		if *a == nil {
			continue
		}
		if err := (*a).append(kind, data); err != nil {
			// Rather nothing than what was true before.
			l.log.Error().Err(err).Msg("profiles are not kept for a restart until they are written anew")
			(*a).giveUp()
			*a = nil
		}
	}
}

// Wants reports whether the log has to be written anew: it is three quarters
// full, or there is none.
func (l *Log) Wants() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next == nil && (l.now == nil || l.now.tail > len(l.now.mem)/4*3)
}

// Rewrite begins a new log with the records that write puts, of about size bytes.
// Nothing else may be put meanwhile. Call Confirm after it.
func (l *Log) Rewrite(size int, write func(put func(profile []byte) error) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, err := newArea(l.owner, l.seq+1, size+size/2+room)
	if err != nil {
		return err
	}
	if err := write(func(p []byte) error { return a.append(put, p) }); err != nil {
		a.giveUp()
		return err
	}
	l.seq, l.next = a.seq, a
	return nil
}

// Confirm has the supervisor hold what Rewrite made, and lets go of the log before.
func (l *Log) Confirm() error {
	l.mu.Lock()
	a, name := l.next, Name+"a"
	if l.name == name {
		name = Name + "b"
	}
	l.mu.Unlock()
	if a == nil {
		return nil
	}
	err := l.sup.Store(name, a.file) // may wait
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil { // given up meanwhile
		l.sup.Forget(name)
		return err
	}
	l.next = nil
	if err != nil {
		a.giveUp() // the supervisor may hold it nevertheless
		return err
	}
	if l.now != nil {
		l.now.giveUp()
	}
	if l.name != "" {
		l.sup.Forget(l.name)
	}
	l.now, l.name = a, name
	return nil
}

// Close lets go of the memory; the supervisor holds it.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range []**area{&l.now, &l.next} {
		if *a != nil {
			(*a).unmap()
			_ = (*a).file.Close()
			*a = nil
		}
	}
}
