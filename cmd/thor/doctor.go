package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/doctor"
	"thor/cmd/thor/internal/doctor/gather"
	"thor/identity"
	"thor/subjects"
)

func newDoctor() *cobra.Command {
	var r reach
	var out output
	var file string
	c := &cobra.Command{
		Use: "doctor", Short: "Find out why something does not work, and what to do",
		Long: "Check the certificate, each broker, the clocks, the managers, the name servers and the key-value bucket, in the order\n" +
			"in which they depend on each other, and say what to do about each fault. Exit 1 when there is one, 3 when brokers or\n" +
			"managers are not heard; a note is none.\n" +
			"An operator's certificate sees more than another. With --config it also looks for listeners of the file that collide.\n" +
			"--bundle FILE also writes the report, the status, configurations, pages and logs to an archive for a bug report; keys,\n" +
			"passwords and the comments of configurations are left out. Look at it before you send it: names and addresses are in it.",
		Example: "  thor doctor --config /etc/thor/thor.toml\n  thor doctor --bundle thor.tar.gz", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.resolve(); err != nil {
				return err
			}
			facts := gather.Facts(cmd.Context(), gather.Target{
				Files: identity.Files{Cert: r.cert, Key: r.key, CA: r.ca}, Brokers: r.brokers, NameServers: r.dns, Connect: r.connect,
				Program: versionString(), Config: r.collisions(),
			})
			findings := doctor.Diagnose(facts)
			if file != "" {
				if err := r.writeBundle(cmd.Context(), file, facts, findings); err != nil {
					return fmt.Errorf("--bundle: %w", err)
				}
			}
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
	c.Flags().StringVar(&file, "bundle", "", "also write a `file` (.tar.gz) for a bug report, without keys and passwords")
	return c
}

// collisions are the listeners that collide in the file of --config.
func (r *reach) collisions() (out []string) {
	if r.config == "" {
		return nil
	}
	_, problems := config.Examine(r.config)
	for _, p := range problems {
		if p.Collides() {
			out = append(out, p.String())
		}
	}
	return out
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
	return &gather.Connection{
		Node: s.Node, Status: s.status, Doubts: doubts, Close: s.end, Revoked: s.creds.Revocations().Revoked, Daemons: s.daemons,
	}, nil
}

// daemonsAtOnce is how many daemons are asked at once.
const daemonsAtOnce = 64

// daemons asks each daemon of a status who it is. Those that do not answer are left out.
func (s *session) daemons(ctx context.Context, st *subjects.Status) []doctor.Daemon {
	plan := restartPlan(st, nil, nil)
	answers := make([]*subjects.RestartReply, len(plan))
	var g errgroup.Group
	g.SetLimit(daemonsAtOnce)
	for i := range plan {
		g.Go(func() error {
			answers[i], _ = s.askDaemon(ctx, &plan[i], "", restartAnswer)
			return nil
		})
	}
	_ = g.Wait() // none fails
	var out []doctor.Daemon
	for i, a := range answers {
		if a != nil && a.Certificate != nil {
			out = append(out, doctor.Daemon{Unit: plan[i].name, Node: plan[i].node, Certificate: *a.Certificate})
		}
	}
	return out
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
