package main

import (
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"thor/cmd/thor/internal/config"
	"thor/identity"
	"thor/overlay/audit"
)

// openAudit is the audit log of a daemon.
func openAudit(f *config.File, creds *identity.Credentials, section string, log zerolog.Logger, stderr io.Writer) (*audit.Log, error) {
	c := f.Log.Config
	c.Node, c.Daemon = string(creds.Identity().Node), section
	c.Stderr, c.Log = stderr, sdkLog(log)
	return audit.Open(c)
}

func outcome(good bool) string {
	if good {
		return audit.OK
	}
	return audit.Failed
}

// signalled is the entry of an act on this machine.
func signalled(act, what string, err error) audit.Entry {
	e := audit.Entry{Who: audit.Local, Act: act, What: what, Outcome: outcome(err == nil)}
	if err != nil {
		e.Detail = err.Error()
	}
	return e
}

// caAudit is the log of an authority, in its directory so that it goes wherever
// the authority goes. An authority that cannot keep it does not sign.
func caAudit(dir string) (*audit.Log, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	return audit.Open(audit.Config{File: filepath.Join(dir, "audit.log"), Daemon: "ca"})
}

// byHand is an entry of the user who runs this command. Environment variables
// say where a user comes from: a hint, not a proof.
func byHand(act, what string, err error) audit.Entry {
	e := signalled(act, what, err)
	e.Who = "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		e.Who = u.Username
	}
	if s := os.Getenv("SUDO_USER"); s != "" {
		e.Who += " (sudo by " + s + ")"
	}
	e.From, _, _ = strings.Cut(os.Getenv("SSH_CONNECTION"), " ")
	return e
}
