package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// interfaces returns the declared interfaces with methods that at most one
// concrete type of the module implements, and the number of all. The types of
// tests are left out.
func (t *tree) interfaces() (few []string, all int, err error) {
	packages, err := t.check()
	if err != nil {
		return nil, 0, err
	}
	var declared []*types.TypeName
	var concrete []types.Type
	for _, pkg := range packages {
		for _, name := range pkg.Scope().Names() {
			tn, ok := pkg.Scope().Lookup(name).(*types.TypeName)
			if !ok || tn.IsAlias() {
				continue
			}
			if i, ok := tn.Type().Underlying().(*types.Interface); !ok {
				concrete = append(concrete, tn.Type())
			} else if i.NumMethods() > 0 {
				declared = append(declared, tn)
			}
		}
	}
	for _, tn := range declared {
		i := tn.Type().Underlying().(*types.Interface)
		n := 0
		for _, c := range concrete {
			if types.Implements(c, i) || types.Implements(types.NewPointer(c), i) {
				n++
			}
		}
		if n <= 1 {
			few = append(few, fmt.Sprintf("%s.%s (methods %d, implementations %d)", strings.TrimPrefix(tn.Pkg().Path(), t.module+"/"), tn.Name(), i.NumMethods(), n))
		}
	}
	return few, len(declared), nil
}

// check type-checks the packages of the module from their source, so that their
// unexported types are seen too. Other modules come from compiled export data.
func (t *tree) check() ([]*types.Package, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles", "./...")
	cmd.Dir = t.dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -export: %w", err)
	}
	export := make(map[string]string)
	imp := imports{
		checked: make(map[string]*types.Package),
		others:  importer.ForCompiler(t.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(export[path]) }),
	}
	var own []*types.Package
	for d := json.NewDecoder(bytes.NewReader(out)); ; { // dependencies come first
		var p struct {
			ImportPath, Export, Dir string
			GoFiles                 []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return own, nil
		} else if err != nil {
			return nil, err
		}
		if export[p.ImportPath] = p.Export; p.ImportPath != t.module && !strings.HasPrefix(p.ImportPath, t.module+"/") {
			continue
		}
		var files []*ast.File
		t.code(func(f *file) {
			if f.pkg == p.ImportPath && slices.Contains(p.GoFiles, filepath.Base(f.path)) {
				files = append(files, f.syntax)
			}
		})
		pkg, err := (&types.Config{Importer: imp}).Check(p.ImportPath, t.fset, files, nil)
		if err != nil {
			return nil, err
		}
		imp.checked[p.ImportPath] = pkg
		own = append(own, pkg)
	}
}

// imports finds packages that are checked already, and others by their export data.
type imports struct {
	checked map[string]*types.Package
	others  types.Importer
}

func (i imports) Import(path string) (*types.Package, error) {
	if p := i.checked[path]; p != nil {
		return p, nil
	}
	return i.others.Import(path)
}

// unusedExports returns the exported names of packages that no other package
// mentions, tests of other packages included, and the number of all.
func (t *tree) unusedExports() (unused []string, all int) {
	type name struct{ pkg, name string }
	used := make(map[name]bool)
	exported := make(map[name]string)
	for _, f := range t.files {
		imports := make(map[string]string) // local name -> import path
		for _, spec := range f.syntax.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			if !strings.HasPrefix(p, t.module+"/") || p == f.pkg {
				continue
			}
			local := path.Base(p)
			if spec.Name != nil {
				local = spec.Name.Name
			}
			imports[local] = p
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && imports[x.Name] != "" {
					used[name{imports[x.Name], s.Sel.Name}] = true
				}
			}
			return true
		})
		if f.test || f.syntax.Name.Name == "main" {
			continue
		}
		for _, id := range declaredNames(f.syntax) {
			if id.IsExported() {
				exported[name{f.pkg, id.Name}] = t.fset.Position(id.Pos()).String()
			}
		}
	}
	for n := range exported {
		if !used[n] {
			unused = append(unused, strings.TrimPrefix(n.pkg, t.module+"/")+"."+n.name)
		}
	}
	return unused, len(exported)
}

// declaredNames are the names of a file's package level, methods left out.
func declaredNames(f *ast.File) (ids []*ast.Ident) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				ids = append(ids, d.Name)
			}
		case *ast.GenDecl:
			if d.Tok == token.IMPORT {
				continue
			}
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					ids = append(ids, s.Name)
				case *ast.ValueSpec:
					ids = append(ids, s.Names...)
				}
			}
		}
	}
	return ids
}
