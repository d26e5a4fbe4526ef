package subscriber

// Fold writes A to Z as a to z, which is the form of keys, users and domains in
// the whole network. Other letters stay as they are, in contrast to
// strings.ToLower: proxies fold no more than these (RFC 4343), and a key has to be
// the same everywhere.
func Fold(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
