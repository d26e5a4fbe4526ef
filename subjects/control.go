package subjects

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxControlLine is the longest line that a control port takes, in bytes, its end
// included.
const MaxControlLine = 1100

// A ControlVerb is what a command on a node agent's control port is for.
type ControlVerb string

// The verbs of the control port.
const (
	ControlNotify   ControlVerb = "notify"           // an entity changed: what is held of it may be old
	ControlWatchers ControlVerb = "get sip_watchers" // who watches the presence of an account
)

// Codes of the answers to commands, after HTTP's. Others up to ControlMost are programs' own.
const (
	ControlOK          = 200
	ControlBad         = 400
	ControlForbidden   = 403
	ControlTooMany     = 429
	ControlNotHere     = 501 // nothing on this node answers such a command
	ControlUnavailable = 503 // not now

	ControlLeast = 200
	ControlMost  = 599
)

// A ControlCommand is one command: on the wire `ID notify OPERATION TYPE ENTITY` or
// `ID get sip_watchers for ENTITY`.
type ControlCommand struct {
	ID        uint32 // 1 or more: the answer names it
	Verb      ControlVerb
	Operation string // of ControlNotify: update or delete
	Type      string // of ControlNotify: sip_account
	Entity    string // user@domain
}

// A ControlRight says which roles may give a command. What no right names is refused.
type ControlRight struct {
	Verb  ControlVerb
	Form  string // as it is written
	Roles []Role
	Why   string
}

// ControlRights is the table of who may do what on control ports. Package broker shows
// it beside its own.
func ControlRights() []ControlRight {
	return []ControlRight{
		{ControlNotify, "notify update sip_account USER@DOMAIN", []Role{ProvisioningServer, XCAPServer}, "tell the node of a subscriber that its profile changed"},
		{ControlWatchers, "get sip_watchers for USER@DOMAIN", []Role{XCAPServer}, "ask the node of a subscriber who watches it"},
	}
}

// ControlRoles are the roles that may give a command of the verb.
func ControlRoles(v ControlVerb) []Role {
	for _, r := range ControlRights() {
		if r.Verb == v {
			return r.Roles
		}
	}
	return nil
}

// Text is the command as it is written, without its number.
func (c *ControlCommand) Text() string {
	if c.Verb == ControlNotify {
		return fmt.Sprintf("%s %s %s %s", c.Verb, c.Operation, c.Type, c.Entity)
	}
	return fmt.Sprintf("%s for %s", c.Verb, c.Entity)
}

// ErrControlID says that a line does not begin with the number of a command, so that
// no answer could name it.
var ErrControlID = errors.New("a line is ID COMMAND, ID a number of 1 to 4294967295")

// ParseControl reads one line without its end. The command has its ID also with an
// error that is not ErrControlID.
func ParseControl(line string) (c ControlCommand, err error) {
	number, rest, _ := strings.Cut(line, " ")
	id, err := strconv.ParseUint(number, 10, 32)
	if err != nil || id == 0 || number[0] == '+' {
		return c, ErrControlID
	}
	c.ID = uint32(id)
	if len(line) > MaxControlLine || !utf8.ValidString(rest) || Printable(rest, len(rest)) != rest {
		return c, errors.New("a command is one line of printable text")
	}
	f := strings.Fields(rest)
	switch {
	case len(f) == 4 && f[0] == "notify":
		c.Verb, c.Operation, c.Type, c.Entity = ControlNotify, f[1], f[2], f[3]
		if c.Type != "sip_account" {
			return c, fmt.Errorf("%q is no type of entity that is known: sip_account is", Printable(c.Type, 64))
		}
		if !slices.Contains([]string{"update", "delete"}, c.Operation) {
			return c, fmt.Errorf("%q is no operation that is known: update and delete are", Printable(c.Operation, 64))
		}
	case len(f) == 4 && f[0] == "get" && f[1] == "sip_watchers" && f[2] == "for":
		c.Verb, c.Entity = ControlWatchers, f[3]
	default:
		return c, fmt.Errorf("%q is no command that is known", Printable(rest, 100))
	}
	if user, domain, ok := strings.Cut(c.Entity, "@"); !ok || user == "" || domain == "" {
		return c, fmt.Errorf("%q is not USER@DOMAIN", Printable(c.Entity, 100))
	}
	return c, nil
}
