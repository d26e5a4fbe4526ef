// Package bundle makes the archive of thor doctor --bundle: what a bug report needs,
// with secrets removed. It is pure: the caller reads and writes.
package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// removed stands for what was taken out.
const removed = "xxxxxx"

// minSecret is the length in bytes from which on a secret is looked for everywhere: a
// shorter one would be found in other words.
const minSecret = 4

// A Bundle is the content of an archive.
type Bundle struct {
	files   map[string][]byte
	secrets []string
}

// New has nothing in it.
func New() *Bundle { return &Bundle{files: make(map[string][]byte)} }

// encoded are the words of a secret file that are the secret itself in base64 or
// hexadecimal digits, as within the line of a TSIG key.
var encoded = regexp.MustCompile(`[A-Za-z0-9+/]{16,}={0,2}`)

// Secret is one that must not be in the archive, such as the content of a password file or
// a key: all of it, each line of it that is long enough, and each word that looks encoded.
func (b *Bundle) Secret(content []byte) {
	whole := strings.TrimSpace(string(content))
	for _, s := range slices.Concat(strings.Split(whole, "\n"), encoded.FindAllString(whole, -1), []string{whole}) {
		if s = strings.TrimSpace(s); len(s) >= minSecret && !strings.HasPrefix(s, "-----") {
			b.secrets = append(b.secrets, s)
		}
	}
}

// Add adds a file as it is, but for secrets.
func (b *Bundle) Add(name string, content []byte) { b.files[name] = content }

// AddConfig adds a configuration without its comments, and without the values of keys that
// are secrets. One that is no TOML is not added: nothing can be told of what is in it.
func (b *Bundle) AddConfig(name string, doc []byte) {
	var tree map[string]any
	if err := toml.Unmarshal(doc, &tree); err != nil {
		b.Add(name, []byte("# left out: not readable as TOML\n"))
		return
	}
	text, err := toml.Marshal(hide("", tree, false))
	if err != nil {
		text = []byte("# left out: " + err.Error() + "\n")
	}
	b.Add(name, text)
}

// secretKey are the names of keys whose values are secrets; those of files are paths.
var secretKey = regexp.MustCompile(`(?i)(pass(word|wd|phrase)?|secret|token|credential|private|ha1|api_?key)`)

// command is the key of a program with its arguments, which may hold a password.
const command = "command"

// hide is v, the value of key, without secrets. within says that it stands below a key
// that is one.
func hide(key string, v any, within bool) any {
	within = within || secretKey.MatchString(key) && !strings.HasSuffix(key, "_file")
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, in := range v {
			out[k] = hide(k, in, within)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, in := range v {
			out[i] = hide(key, in, within || key == command && i > 0)
		}
		return out
	}
	if within && v != "" {
		return removed
	}
	return v
}

// Forms of secrets that text may have, whatever file it is.
var forms = []struct {
	form *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)`), "-----" + removed + "-----"},
	{regexp.MustCompile(`([a-z][a-z0-9+.-]*://[^\s/:@"']*):[^\s"']*@`), "$1:" + removed + "@"}, // URL with a password
	{regexp.MustCompile(`([A-Za-z0-9_.-]+):\S*@(tcp|unix)\(`), "$1:" + removed + "@$2("},       // DSN of the MySQL driver
	// Key and value: the quotes of a text within a text have a backslash before them.
	{regexp.MustCompile(`(?i)((?:password|passwd|passphrase|secret|token|ha1|api[_-]?key)["'\\]*\s*[=:]\s*)(\\+"[^"\n]+"|"(?:\\.|[^"\\\n])+"|'[^'\n]+'|[^\s"]+)`), "${1}" + `"` + removed + `"`},
	// Keys of DNS: TSIG as named.conf and as dig have it, DNSSEC as BIND has it.
	{regexp.MustCompile(`(?i)(\bsecret\s+)"[^"\n]+"`), "${1}" + `"` + removed + `"`},
	{regexp.MustCompile(`(?i)(\bhmac-[a-z0-9-]+:[^\s:]+:)[A-Za-z0-9+/=]+`), "${1}" + removed},
	{regexp.MustCompile(`(?i)(\bprivate[_-]?key["'\\]*\s*[=:]\s*["'\\]*)[A-Za-z0-9+/=]+`), "${1}" + removed},
	{regexp.MustCompile(`(?i)(authorization: *(?:basic|bearer|digest) +)\S.*`), "${1}" + removed},
}

// clean takes the secrets out of text.
func (b *Bundle) clean(text string) string {
	// The longest first: one may be part of another.
	for _, s := range slices.SortedFunc(slices.Values(b.secrets), func(a, b string) int { return len(b) - len(a) }) {
		text = strings.ReplaceAll(text, s, removed)
	}
	for _, f := range forms {
		text = f.form.ReplaceAllString(text, f.by)
	}
	return text
}

// Archive is a tar of all files below dir, compressed by gzip.
func (b *Bundle) Archive(dir string, now time.Time) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		content := []byte(b.clean(string(b.files[name])))
		h := &tar.Header{Name: dir + "/" + name, Mode: 0o600, Size: int64(len(content)), ModTime: now, Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, err := w.Write(content); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
