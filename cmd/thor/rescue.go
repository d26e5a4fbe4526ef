package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"thor/overlay"
	"thor/subjects"
)

// rescueTime is how long a broker may take for a rescue.
const rescueTime = time.Minute

func newRescue() *cobra.Command {
	var r reach
	var yes bool
	var dead []subjects.NodeID
	c := &cobra.Command{
		Use: "rescue [BROKER…]", Short: "Elect managers again after a majority of the brokers is lost for good",
		Long: "Take JetStream back, in which managers are elected, after a majority of its brokers is lost for good.\n\n" +
			"The brokers that are dead are named, or else those that are not heard are taken. It is refused while a named broker is\n" +
			"heard. Before anything is changed the command says what it will do and asks.\n\n" +
			"While a majority runs, brokers that were stopped for good are to be named: JetStream's leader removes them, and counts a\n" +
			"majority without them from then on.\n\n" +
			"Make sure that the brokers are dead, and not cut off: in a partition both sides would elect a manager. Before\n" +
			"they start again the directory jetstream is to be removed from their store ([broker] store, by default the state directory);\n" +
			"they count again some minutes later.",
		Args:    cobra.ArbitraryArgs,
		Example: "  thor rescue\n  thor rescue broker2 broker3 --yes",
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask: the brokers are dead for certain")
	before(c, func(_ *cobra.Command, args []string) error {
		for _, a := range args {
			n, err := subjects.ParseNodeID(a)
			if err != nil {
				return usageError{err}
			}
			if slices.Contains(dead, n) {
				return usagef("%s is named twice", n)
			}
			dead = append(dead, n)
		}
		return nil
	})
	r.connected(c, func(cmd *cobra.Command, s *session, _ []string) error {
		broker, err := s.broker()
		if err != nil {
			return err
		}
		seen, err := s.askRescue(cmd.Context(), broker, nil, r.timeout)
		if err != nil {
			return err
		}
		if err := led(seen, len(dead) > 0); err != nil {
			return err
		}
		if len(dead) == 0 {
			if dead, err = unheard(seen); err != nil {
				return err
			}
		}
		if answers := r.answering(cmd.Context(), dead); len(answers) > 0 {
			return fmt.Errorf("not dead: %s greets here; the brokers are cut off from each other, and a rescue would make two networks of one", words(answers))
		}
		fmt.Fprint(cmd.OutOrStdout(), rescueText(broker, seen.Leader, dead))
		if !yes && !confirmed(cmd) {
			return errors.New("nothing was changed")
		}
		after, err := s.askRescue(cmd.Context(), broker, dead, rescueTime)
		if err != nil {
			return err
		}
		next := ""
		if seen.Leader == "" {
			next = "; a manager is elected within seconds (thor status)"
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "done: %s leads JetStream, without %s%s\n", after.Leader, words(after.Removed), next)
		return err
	})
	return c
}

// broker is the one that this session is connected to.
func (s *session) broker() (subjects.NodeID, error) {
	if nc := s.Conn(); nc != nil && s.Connected() {
		return subjects.NodeID(nc.ConnectedServerName()), nil
	}
	return "", overlay.ErrNotConnected
}

// askRescue asks a broker to rescue JetStream without dead, or how it sees it.
func (s *session) askRescue(ctx context.Context, broker subjects.NodeID, dead []subjects.NodeID, timeout time.Duration) (*subjects.RescueReply, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req := subjects.RescueRequest{V: subjects.Version, Dead: dead}
	p, err := s.Ask(ctx, subjects.RequestFrom(s.ID(), broker, subjects.EventServer, subjects.VerbRescue), req.Encode())
	switch {
	case errors.Is(err, overlay.ErrNoResponders):
		return nil, fmt.Errorf("%s is of a version that knows no rescue", broker)
	case err != nil:
		return nil, err
	case p.Code != "":
		return nil, fmt.Errorf("%s refuses: %s", broker, p.Text)
	}
	var out subjects.RescueReply
	if err := json.Unmarshal(p.Data, &out); err != nil {
		return nil, fmt.Errorf("%s answered what this program does not understand: %w", broker, err)
	}
	return &out, nil
}

// led is an error if JetStream has a leader, unless brokers are named that it is to do
// without. One that lost its majority takes up to half a minute to find out, and then
// the broker refuses no more.
func led(seen *subjects.RescueReply, named bool) error {
	heard := 1
	for _, p := range seen.Peers {
		if p.Heard {
			heard++
		}
	}
	switch {
	case seen.Leader == "":
		return nil
	case heard < (1+len(seen.Peers))/2+1:
		return fmt.Errorf("%s still takes %s for the leader of JetStream, and finds out within half a minute: try again", seen.Broker, seen.Leader)
	case named:
		return nil
	}
	return fmt.Errorf("JetStream has a leader, %s: nothing is to be rescued", seen.Leader)
}

// unheard are the brokers to do without where the operator names none.
func unheard(seen *subjects.RescueReply) (dead []subjects.NodeID, err error) {
	for _, p := range seen.Peers {
		switch {
		case p.Heard:
		case p.Node == "":
			return nil, fmt.Errorf("%s does not know the names of all that are dead, since it was restarted: name them", seen.Broker)
		default:
			dead = append(dead, p.Node)
		}
	}
	if len(dead) == 0 {
		return nil, fmt.Errorf("%s hears all brokers: JetStream elects a leader by itself within seconds", seen.Broker)
	}
	return dead, nil
}

// answering are those of the brokers that greet this machine: the one that was
// asked does not hear them, but they live.
func (r *reach) answering(ctx context.Context, brokers []subjects.NodeID) (found []subjects.NodeID) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, url := range r.brokers {
		one := *r
		one.brokers = []string{url}
		all.Go(func() {
			s, err := one.open(ctx)
			if err != nil {
				return
			}
			defer s.end()
			if n, err := s.broker(); err == nil && slices.Contains(brokers, n) {
				mu.Lock()
				defer mu.Unlock()
				found = append(found, n)
			}
		})
	}
	all.Wait()
	slices.Sort(found)
	return slices.Compact(found)
}

// rescueText says what is about to happen, and what may go wrong.
func rescueText(broker, leader subjects.NodeID, dead []subjects.NodeID) string {
	if leader != "" {
		return fmt.Sprintf("Stopped for good, by your word: %s.\n\n"+
			"%s, which leads JetStream, will remove them from it. The managers' buckets are kept at the brokers that are left.\n"+
			"Before a removed broker starts again, remove the directory jetstream from its store.\n\n", words(dead), leader)
	}
	return fmt.Sprintf("Dead, by your word: %s.\n\n"+
		"%s will have JetStream decide without a majority, for five minutes, and remove the dead brokers from it. The managers'\n"+
		"buckets are kept at the brokers that are left.\n\n"+
		"This is unsafe if a dead broker is only cut off: both sides would elect a manager, and change what the network knows apart\n"+
		"from each other. Look at the machines. Before a removed broker starts again, remove the directory jetstream from its store.\n\n", words(dead), broker)
}

func words(nodes []subjects.NodeID) string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = string(n)
	}
	return strings.Join(out, ", ")
}

// confirmed asks on the terminal; the end of the input is a no.
func confirmed(cmd *cobra.Command) bool {
	fmt.Fprint(cmd.OutOrStdout(), "Type yes to go on: ")
	line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n') // what came before an error counts
	return strings.TrimSpace(line) == "yes"
}
