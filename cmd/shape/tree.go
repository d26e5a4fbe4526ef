package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// longFunction is how many lines a function may have before it is counted.
const longFunction = 60

// A file is one Go file of the tree.
type file struct {
	path   string // relative to the root of the module
	pkg    string // import path
	test   bool
	src    []byte
	syntax *ast.File
}

// A tree is a module's files, generated ones and testdata left out.
type tree struct {
	dir, module string
	fset        *token.FileSet
	files       []*file
}

func load(dir string) (*tree, error) {
	cmd := exec.Command("go", "list", "-m", "-json")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m: %w", err)
	}
	var m struct{ Path, Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return nil, err
	}
	t := &tree{dir: m.Dir, module: m.Path, fset: token.NewFileSet()}
	err = filepath.WalkDir(m.Dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != m.Dir && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		return t.add(path)
	})
	return t, err
}

func (t *tree) add(path string) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(t.fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	if ast.IsGenerated(syntax) {
		return nil
	}
	rel, err := filepath.Rel(t.dir, path)
	if err != nil {
		return err
	}
	pkg := t.module
	if d := filepath.ToSlash(filepath.Dir(rel)); d != "." {
		pkg += "/" + d
	}
	t.files = append(t.files, &file{path: rel, pkg: pkg, test: strings.HasSuffix(path, "_test.go"), src: src, syntax: syntax})
	return nil
}

// code calls f with each file that is no test.
func (t *tree) code(f func(*file)) {
	for _, file := range t.files {
		if !file.test {
			f(file)
		}
	}
}

// codeLines counts the lines with at least one token that is no comment.
func (t *tree) codeLines() (n int) {
	t.code(func(f *file) {
		var s scanner.Scanner
		fset := token.NewFileSet()
		file := fset.AddFile(f.path, -1, len(f.src))
		s.Init(file, f.src, nil, 0)
		last := 0
		for {
			pos, tok, lit := s.Scan()
			if tok == token.EOF {
				return
			}
			if tok == token.SEMICOLON && lit == "\n" {
				continue
			}
			from := file.Line(pos)
			to := from + strings.Count(lit, "\n")
			n += to - max(from, last+1) + 1
			last = to
		}
	})
	return n
}

func (t *tree) fileLengths() (lines []int) {
	t.code(func(f *file) { lines = append(lines, bytes.Count(f.src, []byte("\n"))) })
	slices.Sort(lines)
	return lines
}

func (t *tree) longFunctions() (over, all int) {
	t.code(func(f *file) {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				all++
				if t.fset.Position(fn.End()).Line-t.fset.Position(fn.Pos()).Line+1 > longFunction {
					over++
				}
			}
		}
	})
	return over, all
}

func (t *tree) parallelAssignments() (n int) {
	t.code(func(f *file) {
		ast.Inspect(f.syntax, func(node ast.Node) bool {
			if a, ok := node.(*ast.AssignStmt); ok && len(a.Lhs) >= 3 && len(a.Rhs) == len(a.Lhs) {
				n++
			}
			return true
		})
	})
	return n
}

type methodCount struct {
	name  string
	count int
}

// methods counts the methods declared on each type, most first.
func (t *tree) methods() []methodCount {
	by := make(map[string]int)
	t.code(func(f *file) {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				by[strings.TrimPrefix(f.pkg, t.module+"/")+"."+receiver(fn.Recv.List[0].Type)]++
			}
		}
	})
	var all []methodCount
	for name, n := range by {
		all = append(all, methodCount{name, n})
	}
	slices.SortFunc(all, func(a, b methodCount) int {
		if a.count != b.count {
			return b.count - a.count
		}
		return strings.Compare(a.name, b.name)
	})
	return all
}

func receiver(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return "?"
		}
	}
}
