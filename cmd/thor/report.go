package main

import (
	"context"

	"thor/overlay"
	"thor/subjects"
)

// reports has the daemon answer subjects.VerbReport in role: fill adds what it measures.
func (d *daemon) reports(role string, fill func(*subjects.Report)) {
	d.net.Handle(role, subjects.VerbReport, func(context.Context, *overlay.Request) *subjects.Reply {
		r := subjects.Report{V: subjects.Version}
		fill(&r)
		return &subjects.Reply{Data: r.Encode()}
	})
}
