package provisioning

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"thor/overlay/audit"
	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
)

// A changed is a call of an operation that writes.
type changed struct {
	by     ngnpro.Viewer
	params []soap.Param
	args   []any // nil if they could not be decoded
}

// audit notes a call of an operation that writes, before its answer is sent. The
// entry names the operation and the keys of its records: values stay out.
func (x *exchange) audit() {
	if x.changed == nil {
		return
	}
	outcome := audit.OK
	if x.fault != nil {
		outcome = strings.TrimSpace(fmt.Sprint(x.fault.Number, " ", x.fault.Name))
	}
	x.cfg.Audit.Write(audit.Entry{
		Who: x.loginName(x.changed.by), Act: audit.SOAP, From: x.from.String(), Outcome: outcome,
		What: strings.TrimSpace(x.port + "." + x.op + " " + keysOf(x.changed.params, x.changed.args)),
	})
}

// loginName is the user of a call, and with whose rights it was made.
func (x *exchange) loginName(v ngnpro.Viewer) string {
	rights := "administrator"
	switch {
	case v.Reseller != 0:
		rights = fmt.Sprintf("reseller %d", v.Reseller)
	case v.Customer != 0:
		rights = fmt.Sprintf("customer %d", v.Customer)
	}
	if x.impersonates {
		return fmt.Sprintf("%s as %s", x.user, rights)
	}
	return fmt.Sprintf("%s (%s)", x.user, rights)
}

// keyNames are the parameters that are keys themselves.
var keyNames = []string{"domain", "ip", "id", "customer", "group", "uri", "zone", "recordId"}

// keysOf are the keys in the parameters of a call, in their order.
func keysOf(params []soap.Param, args []any) string {
	var out []string
	for i, arg := range args {
		v := reflect.ValueOf(arg).Elem()
		switch k, ok := arg.(interface{ Key() string }); {
		case ok:
			out = append(out, k.Key())
		case slices.Contains(keyNames, params[i].Name) && (v.Kind() == reflect.String || v.Kind() == reflect.Int):
			out = append(out, fmt.Sprint(v))
		}
	}
	return strings.Join(out, " ")
}
