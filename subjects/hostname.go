package subjects

import "strings"

// IsHostName reports whether s is a host name or domain: lower-case labels of
// letters, digits and hyphens with dots between (RFC 1123 2.1, at most 63 bytes a
// label and 253 in all), the last one not of digits alone, so that it cannot be
// taken for an IPv4 address. A trailing dot is not part of it.
func IsHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	digits := true
	for label := range strings.SplitSeq(s, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		digits = true
		for i := range len(label) {
			c := label[i]
			digits = digits && c >= '0' && c <= '9'
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
				return false
			}
		}
	}
	return !digits
}
