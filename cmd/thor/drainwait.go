package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"thor/overlay"
	"thor/subjects"
)

const (
	drainWait  = 30 * time.Minute // unless --timeout says otherwise
	drainEvery = time.Second      // between two counts
	drainQuiet = 2                // counts of nothing, one after the other, that end the wait: a call may just have come
)

// A drained tells, from one count to the next, what a drained node carries yet.
type drained struct {
	node  subjects.NodeID
	roles []subjects.Role // that were drained
	told  string
	quiet int
	known map[string]bool // what was counted before: that it is not counted now says nothing
}

// see takes a count. line is what is new to tell, empty if nothing is; done reports
// that nothing is left of what can be counted.
func (d *drained) see(w *subjects.Work) (line string, done bool) {
	var left []string
	for _, r := range d.roles {
		for i, c := range w.Roles[r] {
			key := fmt.Sprintf("%s %d", r, i)
			switch {
			case c.Fault != "" && d.known[key]:
				left = append(left, fmt.Sprintf("%s of %s do not answer", c.What, r))
			case c.Fault == "":
				if d.known == nil {
					d.known = make(map[string]bool)
				}
				d.known[key] = true
			}
			if c.N > 0 {
				what := c.What
				if c.N == 1 {
					what = strings.TrimSuffix(what, "s")
				}
				left = append(left, fmt.Sprintf("%d %s of %s", c.N, what, r))
			}
		}
	}
	if len(left) > 0 {
		d.quiet = 0
		line = fmt.Sprintf("%s: %s", d.node, strings.Join(left, ", "))
	} else if d.quiet++; d.quiet >= drainQuiet {
		return "", true
	}
	if line == "" || line == d.told {
		return "", false
	}
	d.told = line
	return line, false
}

// unseen are the roles of which w does not say how much they carry, and why.
func (d *drained) unseen(w *subjects.Work) (out []string) {
	for _, r := range d.roles {
		counts := w.Roles[r]
		if len(counts) == 0 && !r.Infrastructure() {
			out = append(out, fmt.Sprintf("what %s carries is not counted: its [[node.role]] has no kamailio or opensips, and no check of a service that can tell", r))
		}
		for _, c := range counts {
			if c.Fault != "" {
				out = append(out, fmt.Sprintf("%s of %s are not counted: %s", c.What, r, c.Fault))
			}
		}
	}
	return out
}

// leftAfter is the end of a wait that was too short.
func (d *drained) leftAfter(wait time.Duration) string {
	return fmt.Sprintf("after %s it still has work; it stays drained", wait)
}

// awaitIdle tells how the work of d becomes less, until there is none. What is not
// counted makes the outcome errDegraded.
func (s *session) awaitIdle(ctx context.Context, out, warnings io.Writer, d *drained, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var last *subjects.Work
	for {
		w, err := s.work(ctx, d.node)
		switch {
		case ctx.Err() != nil && last != nil:
			_, _ = fmt.Fprintf(warnings, "thor: drain %s: %s\n", d.node, d.leftAfter(wait))
			return errDegraded
		case err != nil:
			return fmt.Errorf("drain %s: %w", d.node, err)
		}
		last = w
		line, done := d.see(w)
		if line != "" {
			if _, err := fmt.Fprintln(out, line); err != nil {
				return err
			}
		}
		if done {
			return d.end(out, warnings, w)
		}
		select {
		case <-ctx.Done():
		case <-time.After(drainEvery):
		}
	}
}

// end tells that nothing is left.
func (d *drained) end(out, warnings io.Writer, w *subjects.Work) error {
	unseen := d.unseen(w)
	for _, why := range unseen {
		if _, err := fmt.Fprintf(warnings, "thor: drain %s: %s\n", d.node, why); err != nil {
			return err
		}
	}
	if len(unseen) > 0 {
		_, err := fmt.Fprintf(out, "%s: nothing is left of what is counted\n", d.node)
		return cmp.Or(err, errDegraded)
	}
	_, err := fmt.Fprintf(out, "%s: nothing is left, it may be stopped\n", d.node)
	return err
}

// work is what the node's agent counts now.
func (s *session) work(ctx context.Context, node subjects.NodeID) (*subjects.Work, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := s.Ask(ctx, subjects.AgentRequest(node, subjects.VerbWork), nil)
	switch {
	case errors.Is(err, overlay.ErrNoResponders):
		return nil, errors.New("its node agent does not say how much it carries: it is not running, or older than this program")
	case err != nil:
		return nil, fmt.Errorf("ask how much it carries: %w", err)
	case r.Code != "":
		return nil, errors.New(r.Text)
	}
	return subjects.ParseWork(r.Data)
}

// drainWords checks what a drain is to say of itself.
func drainWords(reason string, lasts time.Duration) (*subjects.DrainRequest, error) {
	q := &subjects.DrainRequest{V: subjects.Version, Reason: reason, For: int((lasts + time.Second - 1) / time.Second)}
	switch {
	case lasts < 0 || lasts > subjects.MaxDrainFor:
		return nil, usagef("--for %s: a second up to %d days", lasts, subjects.MaxDrainFor/(24*time.Hour))
	case q.Check() != nil:
		return nil, usagef("--reason: text of up to %d bytes without control characters", subjects.MaxDrainReason)
	}
	return q, nil
}

// unheeded says that some of the node's processes, of an earlier version, drain
// without q's reason and end; empty: they do not.
func unheeded(q *subjects.DrainRequest, replies []overlay.DrainReply) string {
	if q == nil || q.Reason == "" && q.For == 0 {
		return ""
	}
	for _, r := range replies {
		if len(r.Drained) > 0 && len(r.Drains) == 0 {
			return "its agent is older than this program: it is drained without --reason and --for, until thor resume"
		}
	}
	return ""
}

// rolesOfReplies are the roles that the processes obeyed for, sorted.
func rolesOfReplies(replies []overlay.DrainReply) []subjects.Role {
	all := make(map[subjects.Role]bool)
	for _, r := range replies {
		for _, role := range r.Roles {
			all[role] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
