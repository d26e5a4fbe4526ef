package ng

import (
	"bytes"
	"errors"
	"strconv"
)

// maxDepth is how deep lists and dictionaries may stand in each other.
const maxDepth = 12

var errBencode = errors.New("not bencoded")

// decode reads one bencoded value: an int64, a string, a []any or a map[string]any. What
// follows it is left.
func decode(b []byte) (any, error) {
	d := decoder{b}
	v, err := d.value(maxDepth)
	if err != nil {
		return nil, err
	}
	return v, nil
}

type decoder struct{ b []byte }

func (d *decoder) value(depth int) (any, error) {
	if len(d.b) == 0 || depth == 0 {
		return nil, errBencode
	}
	switch c := d.b[0]; {
	case c == 'i':
		d.b = d.b[1:]
		return d.number('e')
	case c == 'l':
		d.b = d.b[1:]
		list := []any{}
		for !d.end() {
			v, err := d.value(depth - 1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case c == 'd':
		d.b = d.b[1:]
		dict := make(map[string]any)
		for !d.end() {
			k, err := d.text()
			if err != nil {
				return nil, err
			}
			if dict[k], err = d.value(depth - 1); err != nil {
				return nil, err
			}
		}
		return dict, nil
	}
	return d.text()
}

// end reports whether a list or dictionary ends here, and passes over its end.
func (d *decoder) end() bool {
	if len(d.b) > 0 && d.b[0] == 'e' {
		d.b = d.b[1:]
		return true
	}
	return false
}

func (d *decoder) number(end byte) (int64, error) {
	i := bytes.IndexByte(d.b[:min(len(d.b), 22)], end) // the longest number has 20 characters
	if i < 0 {
		return 0, errBencode
	}
	n, err := strconv.ParseInt(string(d.b[:i]), 10, 64)
	d.b = d.b[i+1:]
	if err != nil {
		return 0, errBencode
	}
	return n, nil
}

func (d *decoder) text() (string, error) {
	n, err := d.number(':')
	if err != nil || n < 0 || n > int64(len(d.b)) {
		return "", errBencode
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s, nil
}
