package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"thor/overlay"
)

// before has check run before what c does: wrong usage is told before anything
// is connected to or changed.
func before(c *cobra.Command, check func(cmd *cobra.Command, args []string) error) {
	earlier := c.PreRunE
	c.PreRunE = func(cmd *cobra.Command, args []string) error {
		if earlier != nil {
			if err := earlier(cmd, args); err != nil {
				return err
			}
		}
		return check(cmd, args)
	}
}

// An output is the form in which a command prints its data: table or json.
type output string

// flag adds -o; commands that print data all have it.
func (o *output) flag(c *cobra.Command) {
	c.Flags().StringVarP((*string)(o), "output", "o", "table", "output `form`: table or json")
	completeFlag(c, "output", "table", "json")
	before(c, func(*cobra.Command, []string) error {
		if *o != "table" && *o != "json" {
			return usagef("-o %q is not table or json", *o)
		}
		return nil
	})
}

// print writes data as JSON, in one line, or as table writes it. What is encoded
// already is written as it is.
func (o output) print(c *cobra.Command, data any, table func(io.Writer) error) error {
	w := c.OutOrStdout()
	if o != "json" {
		return table(w)
	}
	if b, encoded := data.(json.RawMessage); encoded {
		_, err := fmt.Fprintf(w, "%s\n", b)
		return err
	}
	return json.NewEncoder(w).Encode(data)
}

// text is a table that is known as a whole.
func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// connected makes do the work of c, with a connection to the network that r names.
func (r *reach) connected(c *cobra.Command, do func(*cobra.Command, *session, []string) error) {
	r.flags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := r.open(cmd.Context())
		if err != nil {
			return err
		}
		defer s.end()
		return do(cmd, s, args)
	}
}

// informed is connected, with the network's status.
func (r *reach) informed(c *cobra.Command, do func(*cobra.Command, *session, *overlay.View, []string) error) {
	r.connected(c, func(cmd *cobra.Command, s *session, args []string) error {
		v, err := s.status(cmd.Context())
		if err != nil {
			return err
		}
		return do(cmd, s, v, args)
	})
}
