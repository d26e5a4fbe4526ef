// Package provisioned follows the records of the zone that are provisioned: it asks
// provisioning servers for them and hands on what is new. The last ones are kept on
// disk, so that a name server that starts while no provisioning server answers has
// the zone that it had. A list never takes the place of a newer one.
package provisioned

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/rs/zerolog"

	"thor/identity/atomicfile"
	"thor/overlay"
	"thor/overlay/records"
	"thor/subjects"
)

const (
	every   = 5 * time.Second // as often as nodes ask whom proxies trust
	askTime = 2 * time.Second // for one server's answer
)

// A Node is what a Follower needs of an overlay.Node.
type Node interface {
	ID() subjects.NodeID
	View() *overlay.View
	Ask(ctx context.Context, subject string, data []byte) (*subjects.Reply, error)
}

// Config is how a Follower works. Node and Take are required.
type Config struct {
	Node Node
	// File keeps the last records. Empty: none does.
	File string
	// Take is called with the records whenever they are others. On an error they count
	// as not received.
	Take func(lines []string) error
	Log  zerolog.Logger
}

// A Follower follows the provisioned records.
type Follower struct {
	cfg     Config
	log     zerolog.Logger
	have    uint64 // revision of the records that were taken
	count   int    // of these records
	failing bool
}

// New reads the records that were kept, and hands them on. Those that cannot be read
// are as none: the next answer has all.
func New(cfg Config) (*Follower, error) {
	if cfg.Node == nil || cfg.Take == nil {
		return nil, errors.New("provisioned: Node and Take are required")
	}
	f := &Follower{cfg: cfg, log: cfg.Log.With().Str("comp", "dnsagent").Logger()}
	if cfg.File == "" {
		return f, nil
	}
	atomicfile.RemoveTemporary(cfg.File)
	b, err := os.ReadFile(cfg.File)
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	var l *records.List
	if err == nil {
		l, err = records.Parse(b)
	}
	if err == nil {
		err = cfg.Take(l.Records)
	}
	if err != nil {
		f.log.Warn().Err(err).Str("file", cfg.File).Msg("provisioned records unusable, to be asked for again")
		return f, nil
	}
	f.have, f.count = l.Revision, len(l.Records)
	return f, nil
}

// Run asks until ctx ends. It returns nil.
func (f *Follower) Run(ctx context.Context) error {
	wait := time.Duration(0) // a status may be known already
	for {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		f.ask(ctx)
		wait = every - every/10 + rand.N(every/5)
	}
}

// ask asks one server after the other until one answers.
func (f *Follower) ask(ctx context.Context) {
	var errs []error
	for _, s := range f.servers() {
		l, err := f.askOne(ctx, s)
		if err == nil {
			err = f.take(s, l)
		}
		if err == nil {
			if f.failing {
				f.log.Info().Msg("provisioned records are known again")
			}
			f.failing = false
			return
		}
		errs = append(errs, fmt.Errorf("%s: %w", s, err))
		if ctx.Err() != nil {
			return
		}
	}
	if err := errors.Join(errs...); err != nil && !f.failing {
		f.failing = true
		f.log.Warn().Err(err).Msg("no provisioning server tells the records of the zone: the last ones stay")
	}
}

// servers are the provisioning servers, those that serve first.
func (f *Follower) servers() (ids []subjects.NodeID) {
	v := f.cfg.Node.View()
	if v == nil || v.Status == nil || !v.Connected {
		return nil
	}
	var others []subjects.NodeID
	for _, m := range v.Status.Roles[subjects.ProvisioningServer] {
		if m.State == subjects.Up {
			ids = append(ids, m.Node)
		} else {
			others = append(others, m.Node)
		}
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return append(ids, others...)
}

func (f *Follower) askOne(ctx context.Context, server subjects.NodeID) (*records.List, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	q := &records.Request{V: subjects.Version, Have: f.have}
	r, err := f.cfg.Node.Ask(ctx, subjects.ProvisioningRequest(server, subjects.VerbRecords, subjects.DNSManager, f.cfg.Node.ID()), q.Encode())
	if err != nil {
		return nil, err
	}
	if r.Code != "" {
		return nil, fmt.Errorf("%s: %s", r.Code, r.Text)
	}
	return records.Parse(r.Data)
}

// fewFrom is how many records there must have been for a list of less than half of them
// to be told as a loss.
const fewFrom = 10

// take hands on a list of server that is newer, and keeps it. One that is far shorter than
// the one before is taken over too, since an operator may want that, and told as a warning.
func (f *Follower) take(server subjects.NodeID, l *records.List) error {
	if l.Same || l.Revision <= f.have {
		return nil
	}
	if err := f.cfg.Take(l.Records); err != nil {
		return fmt.Errorf("take records: %w", err)
	}
	before := f.count
	f.have, f.count = l.Revision, len(l.Records)
	if before >= fewFrom && 2*f.count < before {
		f.log.Warn().Int("records", f.count).Int("before", before).Str("peer", string(server)).Uint64("rev", l.Revision).Msg("most provisioned records are gone")
	} else {
		f.log.Info().Int("records", f.count).Uint64("rev", l.Revision).Msg("provisioned records taken over")
	}
	if f.cfg.File == "" {
		return nil
	}
	if err := atomicfile.Write(f.cfg.File, l.Encode(), 0o640); err != nil {
		f.log.Error().Err(err).Str("file", f.cfg.File).Msg("provisioned records not kept: a restart may be without them")
	}
	return nil
}
