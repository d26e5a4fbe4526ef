package subscriber

import (
	"strings"

	"thor/subjects"
)

// Limits of the messages.
const (
	MaxKey         = 512  // bytes of a subscriber's key
	MaxKeys        = 1000 // keys of one message
	maxKeysMessage = MaxKeys*(MaxKey+30) + 1024
)

// parse decodes a message of at most limit bytes and checks it.
func parse[T any, M interface {
	*T
	check() error
}](b []byte, limit int) (*T, error) {
	m := new(T)
	if err := subjects.Decode(b, limit, m); err != nil {
		return nil, err
	}
	if err := M(m).check(); err != nil {
		return nil, err
	}
	return m, nil
}

func checkKey(k string) error {
	if k == "" || len(k) > MaxKey || !strings.Contains(k, "@") {
		return subjects.Bad(subjects.CodeName, "key %q", subjects.Printable(k, 70))
	}
	return subjects.CheckText("key", k, MaxKey)
}

func checkKeys(ks []string) error {
	if len(ks) > MaxKeys {
		return subjects.Bad(subjects.CodeRange, "%d keys, %d allowed", len(ks), MaxKeys)
	}
	for _, k := range ks {
		if err := checkKey(k); err != nil {
			return err
		}
	}
	return nil
}
