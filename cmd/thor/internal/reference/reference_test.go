package reference

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"thor/cmd/thor/internal/config"
	"thor/overlay/setting"
)

var update = flag.Bool("update", false, "write comments.json and docs/configuration.md anew")

const root = "../../../../"

func TestTheReferenceIsUpToDate(t *testing.T) {
	comments := make(map[string]string)
	collect(t, reflect.TypeFor[config.File](), comments, make(map[string]map[string]string))
	b, err := json.MarshalIndent(comments, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	upToDate(t, "comments.json", string(b)+"\n")
	if *update {
		commentsJSON = b
	}
	upToDate(t, root+"docs/configuration.md", Markdown(Tables()))
}

func upToDate(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s is out of date (%v): go generate ./cmd/thor/internal/reference", file, err)
	}
}

// collect adds the comments of the fields that have keys: of t, and of the tables in it.
func collect(t *testing.T, of reflect.Type, comments map[string]string, parsed map[string]map[string]string) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if !setting.IsTable(of) {
		return
	}
	for _, k := range setting.Keys(reflect.New(of).Elem()) {
		if !k.InFile() {
			continue
		}
		pkg := k.Owner().PkgPath()
		if parsed[pkg] == nil {
			parsed[pkg] = fieldComments(t, filepath.Join(root, strings.TrimPrefix(pkg, "thor/")))
		}
		comments[commentOf(k)] = parsed[pkg][k.Owner().Name()+"."+k.Field.Name]
		collect(t, k.Field.Type, comments, parsed)
	}
}

// fieldComments are the comments of struct fields in dir, by type and field.
func fieldComments(t *testing.T, dir string) map[string]string {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			s, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range s.Fields.List {
				for _, name := range names(field) {
					out[spec.Name.Name+"."+name] = sentence(field.Doc.Text())
				}
			}
			return true
		})
	}
	return out
}

func names(f *ast.Field) (out []string) {
	for _, n := range f.Names {
		out = append(out, n.Name)
	}
	if id, ok := f.Type.(*ast.Ident); ok && len(f.Names) == 0 {
		out = append(out, id.Name)
	}
	return out
}

// sentence is the first paragraph of a comment: what follows is for callers in Go.
func sentence(comment string) string {
	first, _, _ := strings.Cut(comment, "\n\n")
	return strings.Join(strings.Fields(first), " ")
}

func TestEveryKeyIsDescribed(t *testing.T) {
	n := 0
	for _, table := range Tables() {
		if !strings.HasSuffix(table.Doc, ".") {
			t.Errorf("%s: %q is no sentence", table.Header(), table.Doc)
		}
		for _, k := range table.Keys {
			n++
			at := table.Name + "." + k.Name
			if !strings.HasSuffix(k.Doc, ".") || strings.ToUpper(k.Doc[:1]) != k.Doc[:1] {
				t.Errorf("%s: %q is no sentence", at, k.Doc)
			}
			if (k.Default == "") == (k.Absent == "") {
				t.Errorf("%s: has default %q and %q: one of them it is", at, k.Default, k.Absent)
			}
			if strings.HasSuffix(k.Type, "whole number") {
				t.Errorf("%s: a number without a unit", at)
			}
		}
	}
	t.Logf("%d keys", n)
}

// The file that the reference prints has the keys that the decoder accepts, as
// the decoder itself names them, and values of their types.
func TestTheReferenceIsWhatTheDecoderAccepts(t *testing.T) {
	printed := make(map[string][]string) // of each table
	var file strings.Builder
	table := ""
	for line := range strings.Lines(TOML(Tables())) {
		line = strings.TrimSpace(line)
		if len(line) < 2 || line[1] == ' ' {
			continue
		}
		line = strings.TrimPrefix(line, "#")
		file.WriteString(line + "\n")
		if key, _, ok := strings.Cut(line, " = "); ok {
			printed[table] = append(printed[table], key)
			continue
		}
		file.WriteString("zzzzzz = 1\n") // the decoder answers with what it knows here
		table = strings.Trim(line, "[]")
		if i := strings.LastIndexByte(table, '.'); i >= 0 {
			printed[table[:i]] = append(printed[table[:i]], table[i+1:])
		} else {
			printed[""] = append(printed[""], table)
		}
	}
	file.WriteString("[zzzzzz]\n")
	known := make(map[string]string)
	for _, p := range examine(t, file.String()) {
		key := strings.ReplaceAll(p.Key, "[0]", "")
		list, unknown := strings.CutPrefix(p.Text, "unknown key, known here: ")
		switch name, bogus := strings.CutSuffix(key, "zzzzzz"); {
		case bogus && unknown:
			known[strings.TrimSuffix(name, ".")] = list
		case unknown, strings.Contains(p.Text, " is no "):
			t.Errorf("printed, but %s", p)
		}
	}
	if len(known) != len(Tables())+1 {
		t.Errorf("%d tables printed, %d known to the decoder", len(Tables()), len(known)-1)
	}
	for table, list := range known {
		if got := strings.Join(slices.Sorted(slices.Values(printed[table])), ", "); got != list {
			t.Errorf("[%s]: printed are\n%s\nknown are\n%s", table, got, list)
		}
	}
}

func examine(t *testing.T, text string) config.Problems {
	t.Helper()
	path := filepath.Join(t.TempDir(), "thor.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, ps := config.Examine(path)
	return ps
}

// Every key in the examples and documents is known, those in comments too.
func TestKeysOfExamplesAndDocumentsAreKnown(t *testing.T) {
	files, err := filepath.Glob(root + "deploy/examples/*.toml")
	if err != nil || len(files) < 6 {
		t.Fatal(files, err)
	}
	commented := regexp.MustCompile(`(?m)^# ?(\[+[a-z._]+\]+|[a-z_]+ = .*)$`)
	for _, file := range append(files, root+"deploy/thor.toml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range examine(t, commented.ReplaceAllString(string(text), "$1")) {
			if strings.Contains(p.Text, "unknown key") || strings.Contains(p.Text, "toml") || p.Line == 0 {
				t.Errorf("%s: %s", file, p)
			}
		}
	}
	pages, err := filepath.Glob(root + "docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named, n := regexp.MustCompile("`\\[+([a-z_.]+)\\]+( [a-z_]+)?`"), 0
	for _, page := range append(pages, root+"README.md", root+"CHANGELOG.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			n++
			if _, err := Select(Tables(), []string{strings.Replace(m[1]+m[2], " ", ".", 1)}); err != nil {
				t.Errorf("%s: %s: %v", page, m[0], err)
			}
		}
	}
	if n < 5 {
		t.Errorf("%d keys named in documents", n)
	}
}

func TestSelect(t *testing.T) {
	all := Tables()
	for names, want := range map[string]string{
		"broker.lame_duck":          "[broker] 1",
		"broker.limits log":         "[log] 3, [broker.limits] 8",
		"node.role":                 "[[node.role]] 11, [node.role.sets] 4, [[node.role.sets.dispatcher]] 6, [[node.role.sets.rtpengine]] 6, [[node.role.sets.trusted]] 2, [[node.role.check]] 20",
		"dns.ttl dns.slice dns.srv": "there is no key \"dns.srv\": thor config reference lists all",
	} {
		var got []string
		tables, err := Select(all, strings.Fields(names))
		for _, t := range tables {
			got = append(got, fmt.Sprintf("%s %d", t.Header(), len(t.Keys)))
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s: %s, want %s", names, s, want)
		}
	}
}

// The names of keys of files with secrets; what thor doctor --bundle leaves out, and the
// reference says, follows from the marks.
var ofSecret = regexp.MustCompile(`(^|_)(key|password|secret|token)(_file)?$`)

func TestEveryFileWithASecretIsMarked(t *testing.T) {
	marked := 0
	for _, table := range Tables() {
		for _, k := range table.Keys {
			if k.Type != "file" && k.Type != "secret file" {
				continue
			}
			if secret := ofSecret.MatchString(k.Name); secret != (k.Type == "secret file") {
				t.Errorf("%s.%s is a %s", table.Name, k.Name, k.Type)
			}
			if k.Type == "secret file" {
				marked++
			}
		}
	}
	if marked < 10 {
		t.Errorf("%d files with secrets", marked)
	}
}
