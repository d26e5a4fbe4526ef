package config

import (
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

func (f *File) require(key, value string) bool {
	if value == "" && !f.failed(key) {
		f.d.add(key, "is missing")
	}
	return value != ""
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

func (f *File) priority(key string, p int) {
	if p < 0 || p > 65535 {
		f.d.add(key, "%d is not 1 to 65535", p)
	}
}

func isDomain(s string) bool {
	if len(s) == 0 || len(s) > 253 || strings.ToLower(s) != s {
		return false
	}
	for l := range strings.SplitSeq(s, ".") {
		if len(l) == 0 || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

func set[T comparable](p *T, v T) {
	if reflect.ValueOf(p).Elem().IsZero() {
		*p = v
	}
}
