package config

import (
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"thor/overlay/setting"
	"thor/subjects"
)

// check finds everything that is wrong with a file whose values are filled in:
// what the tags forbid, what a component says of its section, and what concerns
// several sections.
func (f *File) check() {
	setting.Walk(f, f.checkForm)
	f.addAll("", setting.Check(f))
	f.checkBrokers()
	present, names := f.sections()
	for _, name := range names {
		s := present[name]
		if own, ok := s.(interface{ check(f *File) }); ok {
			own.check(f)
		}
		if component, ok := s.(interface{ Validate() []setting.Problem }); ok {
			f.addAll(name, component.Validate())
		}
	}
	f.checkMetrics()
	f.checkListeners()
	if len(present) == 0 {
		f.d.add("", "has no daemon's section: one of [%s]", strings.Join(names, "], ["))
	}
}

// addAll adds the problems of a section, but one at each key.
func (f *File) addAll(section string, ps []setting.Problem) {
	for _, p := range ps {
		key := strings.TrimSuffix(join(section, p.Key), ".")
		if !f.failed(key) {
			f.d.add(key, "%s", p.Text)
		}
	}
}

// checkForm looks at what concerns a file alone: required keys, and the form of text.
func (f *File) checkForm(k setting.Key) {
	empty := k.Value.IsZero() || k.Value.Kind() == reflect.Slice && k.Value.Len() == 0
	if need := k.Tag("required"); need != "" && empty && !k.Elem && !f.failed(k.Path) {
		if need == "yes" {
			need = setting.Or(strings.Fields(k.Tag("oneof")))
		}
		f.d.add(k.Path, "%s", strings.TrimSuffix("is missing: "+need, ": "))
	}
	if empty || k.Value.Kind() != reflect.String {
		return
	}
	switch s := k.Value.String(); k.Tag("form") {
	case "listen", "host:port":
		f.hostPort(k.Path, s)
	case "site":
		if _, err := subjects.ParseSite(s); err != nil {
			f.d.add(k.Path, "%v", err)
		}
	case "domain":
		if !subjects.IsHostName(s) {
			f.d.add(k.Path, "%q is not a domain name", s)
		}
	}
}

// failed reports whether key has a problem already.
func (f *File) failed(key string) bool {
	return slices.ContainsFunc(f.d.problems, func(p Problem) bool { return p.Key == key })
}

func (f *File) checkURL(key, s string) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "tls" || u.User != nil || u.Path != "" {
		f.d.add(key, "%q is no broker, write it like \"tls://192.0.2.1:4222\"", s)
		return
	}
	f.hostPort(key, u.Host)
}

// hostPort checks host:port; the port may be 0 only where the system may choose, which is nowhere here.
func (f *File) hostPort(key, s string) {
	_, port, err := net.SplitHostPort(s)
	n, perr := strconv.Atoi(port)
	switch {
	case err != nil:
		f.d.add(key, "%q is not host:port", s)
	case perr != nil || n < 1 || n > 65535:
		f.d.add(key, "port %q is not 1 to 65535", port)
	}
}
