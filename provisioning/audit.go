package provisioning

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"thor/overlay/audit"
	"thor/provisioning/ngnpro"
)

// writes reports whether the operation changes anything: all but the getters do.
func (o *operation) writes() bool { return !strings.HasPrefix(o.Name, "get") }

// audit notes a call that writes, before its answer is sent. What happened is
// named by the operation and the keys of its records: values stay out.
func (x *exchange) audit() {
	if x.changed == nil {
		return
	}
	outcome := audit.OK
	if x.fault != nil {
		outcome = strings.TrimSpace(fmt.Sprint(x.fault.Number, " ", x.fault.Name))
	}
	x.cfg.Audit.Write(audit.Entry{
		Who: x.login(x.changed.v), Act: audit.SOAP, What: strings.TrimSpace(x.port + "." + x.op + " " + keysOf(x.changed.in)),
		From: x.from.String(), Outcome: outcome,
	})
}

// login is the name under which a call came, and with whose rights it was made.
func (x *exchange) login(v ngnpro.Viewer) string {
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
var keyNames = []string{"domain", "ip", "id", "customer", "group", "uri"}

// keysOf are the keys in the parameters of a call, in their order.
func keysOf(in any) string {
	if in == nil {
		return ""
	}
	v := reflect.ValueOf(in).Elem()
	var out []string
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Tag.Get("soap")
		switch k, ok := f.Interface().(interface{ Key() string }); {
		case ok:
			out = append(out, k.Key())
		case slices.Contains(keyNames, name) && f.Kind() == reflect.String:
			out = append(out, f.String())
		case slices.Contains(keyNames, name) && f.Kind() == reflect.Int:
			out = append(out, fmt.Sprint(f.Int()))
		}
	}
	return strings.Join(out, " ")
}
