package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Most mutants change one function. They are built together: the function gets a copy
// for each of them, and a body that calls the one which an environment variable
// chooses. So a package is compiled once, not once for each mutant.

const (
	chooser  = "THOR_MUTANT" // its value is the number of a mutant; none: the source as it is
	chosen   = "mutantChosen"
	switchGo = "mutants_switch.go"
)

// A function is one declaration of a file.
type function struct {
	*ast.FuncDecl
	src []byte
}

func (f *function) text(from, to token.Pos) string { return string(f.src[from-1 : to-1]) }

// body is the function without its doc comment.
func (f *function) body() string { return f.text(f.Pos(), f.End()) }

func (f *function) signature() string {
	return f.text(f.Pos(), f.Type.End())
}

// key tells the functions of a file apart.
func (f *function) key() string {
	if f.Recv == nil {
		return f.Name.Name
	}
	t := f.Recv.List[0].Type
	return f.text(t.Pos(), t.End()) + "." + f.Name.Name
}

// A source is a file taken apart: its functions, and what is beside them.
type source struct {
	src   []byte
	name  string // of the package
	funcs map[string]*function
	rest  string
}

func takeApart(src []byte) (*source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	s := &source{src: src, name: file.Name.Name, funcs: map[string]*function{}}
	at, rest := 0, strings.Builder{}
	for _, d := range file.Decls {
		f, is := d.(*ast.FuncDecl)
		if !is {
			continue
		}
		x := &function{f, src}
		s.funcs[x.key()] = x
		rest.Write(src[at : f.Pos()-1])
		at = int(f.End()) - 1
	}
	rest.Write(src[at:])
	s.rest = rest.String()
	return s, nil
}

// changed is the one function in which s and o differ, as each has it. ok is false if that is not
// the only difference.
func (s *source) changed(o *source) (old, new *function, ok bool) {
	if s.rest != o.rest || len(s.funcs) != len(o.funcs) {
		return nil, nil, false
	}
	for k, f := range s.funcs {
		g := o.funcs[k]
		switch {
		case g == nil:
			return nil, nil, false
		case f.body() == g.body():
			continue
		case old != nil || f.signature() != g.signature() || f.Type.TypeParams != nil:
			return nil, nil, false
		}
		old, new = f, g
	}
	return old, new, old != nil
}

// schemata puts all mutants of rows that change one function each into the source: overlay has
// the files to read in place of others, numbers the value of chooser for each.
func schemata(root string, rows []*mutant) (overlay map[string][]byte, numbers map[*mutant]int, err error) {
	overlay, numbers = map[string][]byte{}, map[*mutant]int{}
	byFile := map[string][]*mutant{}
	var files []string
	for _, m := range rows {
		if byFile[m.File] == nil {
			files = append(files, m.File)
		}
		byFile[m.File] = append(byFile[m.File], m)
	}
	for _, f := range files {
		src, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f)))
		if err != nil {
			return nil, nil, err
		}
		out, name, err := multiply(src, byFile[f], root, numbers)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f, err)
		}
		if out != nil {
			overlay[f] = out
			overlay[path.Join(path.Dir(f), switchGo)] = []byte("package " + name + "\n\nimport (\n\t\"os\"\n\t\"strconv\"\n)\n\nvar " + chosen + ", _ = strconv.Atoi(os.Getenv(\"" + chooser + "\"))\n")
		}
	}
	return overlay, numbers, nil
}

// multiply is a file with the mutants that fit, nil if none does.
func multiply(src []byte, mutants []*mutant, root string, numbers map[*mutant]int) (out []byte, name string, err error) {
	s, err := takeApart(src)
	if err != nil {
		return nil, "", err
	}
	copies := map[*function][]*mutant{}
	var order []*function
	var tail bytes.Buffer
	for _, m := range mutants {
		changed, err := m.apply(root)
		if err != nil {
			return nil, "", err
		}
		o, err := takeApart(changed)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", m.Name, err)
		}
		old, new, ok := s.changed(o)
		if !ok {
			continue
		}
		n := len(numbers) + 1
		numbers[m] = n
		if copies[old] == nil {
			order = append(order, old)
		}
		copies[old] = append(copies[old], m)
		fmt.Fprintf(&tail, "\n//line mutant-%s.go:1\n%s\n", m.Name, new.renamed(n))
	}
	if len(order) == 0 {
		return nil, "", nil
	}
	out = bytes.Clone(src)
	for _, f := range order {
		fmt.Fprintf(&tail, "\n//line mutants.go:1\n%s\n", f.dispatch(copies[f], numbers))
	}
	for i := len(out); i > 0; i-- { // from the end, so that positions hold
		for _, f := range order {
			if end := int(f.Name.End()) - 1; end == i {
				out = append(out[:i:i], append([]byte("__0"), out[i:]...)...)
			}
		}
	}
	return append(out, tail.Bytes()...), s.name, nil
}

// renamed is f as the copy n.
func (f *function) renamed(n int) string {
	return fmt.Sprintf("%s__%d%s", f.text(f.Pos(), f.Name.End()), n, f.text(f.Name.End(), f.End()))
}

// dispatch is a function in the place of f that calls the copy which is chosen.
func (f *function) dispatch(copies []*mutant, numbers map[*mutant]int) string {
	var params, args, results []string
	for _, p := range f.Type.Params.List {
		for range max(1, len(p.Names)) {
			name := fmt.Sprintf("p%d", len(params))
			arg := name
			if _, variadic := p.Type.(*ast.Ellipsis); variadic {
				arg += "..."
			}
			params = append(params, name+" "+f.text(p.Type.Pos(), p.Type.End()))
			args = append(args, arg)
		}
	}
	if f.Type.Results != nil {
		for _, r := range f.Type.Results.List {
			for range max(1, len(r.Names)) {
				results = append(results, f.text(r.Type.Pos(), r.Type.End()))
			}
		}
	}
	recv, on := "", ""
	if f.Recv != nil {
		t := f.Recv.List[0].Type
		recv, on = "(r0 "+f.text(t.Pos(), t.End())+") ", "r0."
	}
	call := func(n int) string {
		c := fmt.Sprintf("%s%s__%d(%s)", on, f.Name.Name, n, strings.Join(args, ", "))
		if len(results) > 0 {
			return "return " + c
		}
		return c
	}
	var b strings.Builder
	fmt.Fprintf(&b, "func %s%s(%s) (%s) {\n\tswitch %s {\n", recv, f.Name.Name, strings.Join(params, ", "), strings.Join(results, ", "), chosen)
	for _, m := range copies {
		fmt.Fprintf(&b, "\tcase %d:\n\t\t%s\n", numbers[m], call(numbers[m]))
	}
	fmt.Fprintf(&b, "\tdefault:\n\t\t%s\n\t}\n}\n", call(0))
	return b.String()
}
