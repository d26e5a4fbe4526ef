package up

import (
	_ "embed"
	"fmt"
	"strings"
)

// register is the example that operators copy: thor up runs that very file.
//
//go:generate cp ../../../../deploy/examples/kamailio/register.cfg register.cfg
//go:embed register.cfg
var register string

// own is what an operator changes in the example. All are required.
type own struct {
	address string // that the node announces
	agent   string // host:port of the node agent's HTTP service, on loopback
	rpc     string // host:port of JSON-RPC for the agent, on loopback
	secret  string // path of the agent's [node] secret_file
}

// registerConfig is register.cfg with o in the place of the example's values. An
// error is that the file does not have one of them exactly once.
func registerConfig(o own) (string, error) {
	out := register
	const define, include = "#!substdef \"!%s!%s!g\"\n", "include_file %[2]q\n"
	for _, d := range []struct{ form, name, example, own string }{
		{define, "MY_ADDRESS", "192.0.2.1", o.address},
		{define, "AGENT_ADDRESS", "127.0.0.1:9501", o.agent},
		{define, "RPC_ADDRESS", "127.0.0.1:5062", o.rpc},
		{include, "", "/etc/thor/local.secret", o.secret},
	} {
		line := fmt.Sprintf(d.form, d.name, d.example)
		if strings.Count(out, line) != 1 {
			return "", fmt.Errorf("register.cfg: not exactly one line %q", line)
		}
		out = strings.Replace(out, line, fmt.Sprintf(d.form, d.name, d.own), 1)
	}
	return out, nil
}
