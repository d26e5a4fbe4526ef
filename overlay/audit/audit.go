// Package audit writes down who did what to the network: one entry for each act
// of an operator or a client that changes something or that is given a secret.
//
// The invariant: an entry is written for every act, at any log level, and never
// sampled. Acts that come by the thousand may share an entry that counts them
// (Tally). An entry has names, keys and outcomes, and no value that was set: no
// password, digest or key of a certificate ever gets here.
//
// The log is apart from the daemon's own. Under systemd it is the journal
// (journalctl -t thor-audit), elsewhere a file or standard error with one JSON
// object a line. It is not a history of the network: what members do by
// themselves is in the events.
package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"

	"thor/subjects"
)

// identifier is the SYSLOG_IDENTIFIER of entries in the journal.
const identifier = "thor-audit"

// The acts. SOAP operations have their own names as What.
const (
	Drain       = "drain"
	Resume      = "resume"
	Forget      = "forget"  // a lost member is not listed as lost any more
	Confirm     = "confirm" // failed members that guards held were let go
	Hold        = "hold"    // failed members are kept
	Revoke      = "revoke"  // at the authority, or a revocation list in force at a broker
	Issue       = "issue"
	Renew       = "renew"
	Rescue      = "rescue"  // JetStream was taken back from a lost majority of brokers
	Restart     = "restart" // a daemon ends, for its supervisor to start it again
	Reload      = "reload"
	SOAP        = "soap"
	Credentials = "credentials" // the database's password was given to a node
	Profile     = "profile"     // a subscriber's profile, with its digest, was given to a node
	Locations   = "locations"   // an operator asked where a subscriber is registered; written before the nodes are asked
	Push        = "push"        // a node was told, or could not be told, of a change that was answered
)

// The outcomes. A SOAP fault has its number and name instead.
const (
	OK      = "ok"
	Refused = "refused" // the one who acts may not
	Failed  = "failed"  // it could not be done, or not all of it
)

// Local is who sends a signal or works on this machine without a name.
const Local = "local"

// An Entry is one act, or several alike. All fields are plain text; what is not
// printable is replaced, and what is too long is cut.
type Entry struct {
	Who     string // node of the certificate, login or user of the machine; empty: not known
	Act     string // one of the acts above
	What    string // on which it was done: role and node, operation and key, certificate
	From    string // address or node from which the act came, or the role in which Who asked; empty: this machine
	Outcome string
	Detail  string // why it failed, or what else matters
	Count   int    // of the acts that this entry stands for; 0 is one
}

// Given is the entry of a secret that asker, in role, was given or refused.
func Given(act string, asker subjects.NodeID, role subjects.Role, what, outcome, detail string) Entry {
	return Entry{Who: string(asker), Act: act, What: what, From: string(role), Outcome: outcome, Detail: detail}
}

// Member names a role on a node in Entry.What.
func Member(role subjects.Role, node subjects.NodeID) string {
	return string(role) + " of " + string(node)
}

// A Config says where entries go.
type Config struct {
	// File for audit entries, a JSON object a line. It is opened for each entry, so
	// that it may be rotated at any time.
	File   string    `toml:"audit" form:"file" default:"(the journal under systemd, standard error elsewhere)"`
	Stderr io.Writer // nil: os.Stderr
	// Node and Daemon are in every entry; empty ones are left out.
	Node, Daemon string
	// Log receives entries that could not be written; nil: nothing does.
	Log *slog.Logger
}

// A Log takes entries. A nil *Log drops them; its methods may be called
// concurrently.
type Log struct {
	node, daemon string
	write        func(*Entry, []byte) error // gets the entry and its line
	log          *slog.Logger               // for entries that could not be written
	now          func() time.Time
}

// Open makes the log of a process. A file that cannot be written is an error now.
func Open(cfg Config) (*Log, error) {
	l := &Log{node: cfg.Node, daemon: cfg.Daemon, now: time.Now, log: cmp.Or(cfg.Log, silent)}
	switch {
	case cfg.File != "":
		if err := appendLine(cfg.File, nil); err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		l.write = func(_ *Entry, line []byte) error { return appendLine(cfg.File, line) }
	case collected():
		l.write = func(e *Entry, _ []byte) error { return journal.Send(e.String(), journal.PriNotice, l.fields(e)) }
	case cfg.Stderr != nil:
		l.write = toWriter(cfg.Stderr)
	default:
		l.write = toWriter(os.Stderr)
	}
	return l, nil
}

// To is a log that writes its lines to w.
func To(w io.Writer) *Log { return &Log{write: toWriter(w), now: time.Now, log: silent} }

// Through is a log whose entries are lines of log, which go to its handler
// whatever level that has enabled: for processes that have no other.
func Through(log *slog.Logger) *Log {
	return &Log{now: time.Now, log: log, write: func(e *Entry, _ []byte) error {
		r := slog.NewRecord(time.Now(), slog.LevelInfo, "audit", 0)
		r.AddAttrs(slog.String("comp", "audit"), slog.String("who", e.Who), slog.String("act", e.Act), slog.String("what", e.What),
			slog.String("from", e.From), slog.String("outcome", e.Outcome), slog.String("detail", e.Detail), slog.Int("count", e.Count))
		return log.Handler().Handle(context.Background(), r)
	}}
}

var silent = slog.New(slog.DiscardHandler)

// collected reports whether systemd's journal gets the standard error of this
// process, and takes entries.
func collected() bool {
	is, err := journal.StderrIsJournalStream()
	return err == nil && is && journal.Enabled()
}

func appendLine(path string, line []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if len(line) > 0 {
		_, err = f.Write(line)
	}
	return errors.Join(err, f.Close())
}

func toWriter(w io.Writer) func(*Entry, []byte) error {
	var mu sync.Mutex
	return func(_ *Entry, line []byte) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := w.Write(line)
		return err
	}
}

// Write writes an entry. It returns once the entry has been handed over: a
// caller that gives away a secret writes first.
func (l *Log) Write(e Entry) {
	if l == nil {
		return
	}
	e = e.clean()
	line := l.line(&e)
	if err := l.write(&e, line); err != nil {
		l.log.Error("audit entry not written to its log", slog.Any("error", err), slog.Any("entry", json.RawMessage(line[:len(line)-1])))
	}
}

// The longest values, in bytes.
const (
	maxName = 256
	maxText = 1024
)

func (e Entry) clean() Entry {
	e.Who = subjects.Printable(e.Who, maxName)
	e.Act = subjects.Printable(e.Act, maxName)
	e.What = subjects.Printable(e.What, maxText)
	e.From = subjects.Printable(e.From, maxName)
	e.Outcome = subjects.Printable(e.Outcome, maxName)
	e.Detail = subjects.Printable(e.Detail, maxText)
	e.Count = max(e.Count, 1)
	return e
}

// line is an entry as JSON, with a line feed.
func (l *Log) line(e *Entry) []byte {
	b, err := json.Marshal(struct {
		Time    string `json:"time"`
		Comp    string `json:"comp"`
		Node    string `json:"node,omitempty"`
		Daemon  string `json:"daemon,omitempty"`
		Who     string `json:"who"`
		Act     string `json:"act"`
		What    string `json:"what"`
		From    string `json:"from"`
		Outcome string `json:"outcome"`
		Detail  string `json:"detail,omitempty"`
		Count   int    `json:"count"`
	}{
		l.now().UTC().Format(time.RFC3339Nano), "audit", l.node, l.daemon,
		e.Who, e.Act, e.What, e.From, e.Outcome, e.Detail, e.Count,
	})
	if err != nil {
		panic("audit: encode: " + err.Error()) // strings and a number only
	}
	return append(b, '\n')
}

// fields are an entry for the journal, which has its own clock.
func (l *Log) fields(e *Entry) map[string]string {
	f := map[string]string{
		"SYSLOG_IDENTIFIER": identifier, "THOR_NODE": l.node, "THOR_DAEMON": l.daemon, "THOR_WHO": e.Who, "THOR_ACT": e.Act,
		"THOR_WHAT": e.What, "THOR_FROM": e.From, "THOR_OUTCOME": e.Outcome, "THOR_DETAIL": e.Detail, "THOR_COUNT": strconv.Itoa(e.Count),
	}
	for k, v := range f {
		if v == "" {
			delete(f, k)
		}
	}
	return f
}

// String is an entry for a reader of the journal.
func (e *Entry) String() string {
	var b strings.Builder
	who := e.Who
	if who == "" {
		who = "(unknown)"
	}
	fmt.Fprintf(&b, "%s: %s %s", who, e.Act, e.What)
	if e.Count > 1 {
		fmt.Fprintf(&b, " (%d times)", e.Count)
	}
	if e.From != "" {
		fmt.Fprintf(&b, " from %s", e.From)
	}
	fmt.Fprintf(&b, ": %s", e.Outcome)
	if e.Detail != "" {
		fmt.Fprintf(&b, ", %s", e.Detail)
	}
	return b.String()
}
