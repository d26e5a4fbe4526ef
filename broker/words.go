package broker

import "bytes"

// containsFold is bytes.Contains for a needle in lower case, without regard to case.
func containsFold(b, needle []byte) bool {
	for i := 0; i+len(needle) <= len(b); i++ {
		if b[i]|0x20 == needle[0] && bytes.EqualFold(b[i:i+len(needle)], needle) {
			return true
		}
	}
	return false
}

// is compares an operation without regard to case, in ASCII.
func is(op []byte, name string) bool {
	if len(op) != len(name) {
		return false
	}
	for i := range op {
		c := op[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

// fields splits at blanks and tabs, into at most cap(a) parts.
func fields(b []byte, a [][]byte) [][]byte {
	start := -1
	for i, c := range b {
		switch blank := c == ' ' || c == '\t'; {
		case !blank && start < 0:
			start = i
		case blank && start >= 0:
			a, start = append(a, b[start:i]), -1
		}
		if len(a) == cap(a) {
			return a // too many for any operation
		}
	}
	if start >= 0 {
		a = append(a, b[start:])
	}
	return a
}

// number parses a size as nats-server does.
func number(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > maxDigits {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
