// Package kamailio has the example configuration of a Kamailio beside a node
// agent, for thor up, which runs that very file.
package kamailio

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed register.cfg
var register string

// An Own is what an operator changes in the configuration. All are required.
type Own struct {
	Address string // that the node announces
	Agent   string // host:port of the node agent's HTTP service, on loopback
	RPC     string // host:port of JSON-RPC for the agent, on loopback
	Secret  string // path of the agent's [node] secret_file
}

// Register is register.cfg with o in the place of the example's values. An
// error is that the file does not have one of them exactly once.
func Register(o Own) (string, error) {
	out := register
	const define, include = "#!substdef \"!%s!%s!g\"\n", "include_file %[2]q\n"
	for _, d := range []struct{ form, name, example, own string }{
		{define, "MY_ADDRESS", "192.0.2.1", o.Address},
		{define, "AGENT_ADDRESS", "127.0.0.1:9501", o.Agent},
		{define, "RPC_ADDRESS", "127.0.0.1:5062", o.RPC},
		{include, "", "/etc/thor/local.secret", o.Secret},
	} {
		line := fmt.Sprintf(d.form, d.name, d.example)
		if strings.Count(out, line) != 1 {
			return "", fmt.Errorf("register.cfg: not exactly one line %q", line)
		}
		out = strings.Replace(out, line, fmt.Sprintf(d.form, d.name, d.own), 1)
	}
	return out, nil
}
