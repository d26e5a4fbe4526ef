package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"thor/identity/atomicfile"
	"thor/subjects"
)

// natsContext is a context file of the nats CLI; marker tells ours from others'.
type natsContext struct {
	Description string `json:"description"`
	URL         string `json:"url"`
	Cert        string `json:"cert"`
	Key         string `json:"key"`
	CA          string `json:"ca"`
	InboxPrefix string `json:"inbox_prefix"`
	TLSFirst    bool   `json:"tls_first"`
}

const contextMarker = "written by thor context"

func newContext() *cobra.Command {
	var r reach
	name := "thor"
	c := &cobra.Command{
		Use: "context", Short: "Write a context for the nats command line tool",
		Long: "Write a context for the nats command line tool (natscli), so that it speaks to this network as an operator.\n" +
			"It is not selected by default; a context that thor did not write is not overwritten.",
		Example: "  thor context --name thor\n  nats --context thor sub 'thor.>'", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := writeContext(&r, name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", path)
			fmt.Fprintf(cmd.ErrOrStderr(), "try: nats --context %s sub 'thor.>'\n", name)
			return err
		},
	}
	r.flags(c)
	c.Flags().StringVar(&name, "name", name, "`name` of the context")
	return c
}

var contextName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func writeContext(r *reach, name string) (string, error) {
	if !contextName.MatchString(name) {
		return "", usagef("--name %q may hold letters, digits, - and _ only", name)
	}
	if err := r.resolve(); err != nil {
		return "", err
	}
	creds, err := r.credentials()
	if err != nil {
		return "", err
	}
	id := creds.Identity()
	if !id.Has(subjects.Operator) {
		return "", fmt.Errorf("%s is no operator's certificate: issue one with --role %s", r.cert, subjects.Operator)
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	if x := os.Getenv("XDG_CONFIG_HOME"); x != "" {
		dir = x
	}
	dir = filepath.Join(dir, "nats", "context")
	path := filepath.Join(dir, name+".json")
	if old, err := os.ReadFile(path); err == nil && !strings.Contains(string(old), contextMarker) {
		return "", fmt.Errorf("%s was not written by thor: choose another --name", path)
	}
	x := natsContext{
		Description: id.Domain + ", " + contextMarker, URL: strings.Join(r.brokers, ","), InboxPrefix: subjects.InboxPrefix(id.Node), TLSFirst: true,
	}
	for dst, src := range map[*string]string{&x.Cert: r.cert, &x.Key: r.key, &x.CA: r.ca} {
		if *dst, err = filepath.Abs(src); err != nil { // natscli wants absolute paths
			return "", err
		}
	}
	b, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return path, atomicfile.Write(path, append(b, '\n'), 0o600)
}
