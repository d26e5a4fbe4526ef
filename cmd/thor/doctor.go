package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/doctor"
	"thor/cmd/thor/internal/doctor/gather"
	"thor/identity"
	"thor/subjects"
)

func newDoctor() *cobra.Command {
	var r reach
	var out output
	c := &cobra.Command{
		Use: "doctor", Short: "Find out why something does not work, and what to do",
		Long: "Check the certificate, each broker, the clocks, the managers, the name servers and the key-value bucket, in the order\n" +
			"in which they depend on each other, and say what to do about each fault. Exit 1 when there is one, 3 when brokers or\n" +
			"managers are not heard; a note is none.\n" +
			"An operator's certificate sees more than another.",
		Example: "  thor doctor --config /etc/thor/thor.toml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.resolve(); err != nil {
				return err
			}
			findings := doctor.Diagnose(gather.Facts(cmd.Context(), gather.Target{
				Files: identity.Files{Cert: r.cert, Key: r.key, CA: r.ca}, Brokers: r.brokers, NameServers: r.dns, Connect: r.connect,
			}))
			if err := out.print(cmd, findings, func(w io.Writer) error { return printFindings(w, findings) }); err != nil {
				return err
			}
			switch {
			case doctor.Faulty(findings):
				return errors.New("there are faults, see above")
			case doctor.Degraded(findings):
				return errDegraded
			}
			return nil
		},
	}
	r.flags(c)
	out.flag(c)
	return c
}

// connect is open for package gather.
func (r *reach) connect(ctx context.Context) (*gather.Connection, error) {
	s, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	l, err := s.lookOut(ctx)
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	doubts := func(ctx context.Context, st *subjects.Status) []string {
		l.wait(ctx, st)
		return l.reasons(st)
	}
	return &gather.Connection{Node: s.Node, Status: s.status, Doubts: doubts, Close: s.end}, nil
}

func printFindings(w io.Writer, fs []doctor.Finding) error {
	words := map[doctor.Level]string{doctor.OK: "ok   ", doctor.Note: "note ", doctor.Fault: "FAULT", doctor.Partial: "PART "}
	for _, f := range fs {
		if _, err := fmt.Fprintf(w, "%s %s\n", words[f.Level], f.Text); err != nil {
			return err
		}
		if f.Advice == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "      -> %s\n", f.Advice); err != nil {
			return err
		}
	}
	return nil
}
