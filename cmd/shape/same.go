package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"hash/maphash"
	"reflect"
	"slices"
)

// sameNodes is how many nodes of syntax a passage has at least.
const sameNodes = 40

// A passage is a run of statements in one block.
type passage struct {
	f        *file
	from, to token.Pos
	nodes    int
	hash     uint64
}

// sameShape returns the pairs of passages, tests left out, that differ in names
// and literals only. Of overlapping pairs the largest counts.
func (t *tree) sameShape() (pairs []string) {
	by := make(map[uint64][]passage)
	t.code(func(f *file) {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			var list []ast.Stmt
			switch n := n.(type) {
			case *ast.BlockStmt:
				list = n.List
			case *ast.CaseClause:
				list = n.Body
			case *ast.CommClause:
				list = n.Body
			}
			for i := range list {
				var h maphash.Hash
				h.SetSeed(seed)
				nodes := 0
				for j := i; j < len(list); j++ {
					nodes += shape(&h, list[j])
					if nodes >= sameNodes {
						by[h.Sum64()] = append(by[h.Sum64()], passage{f, list[i].Pos(), list[j].End(), nodes, h.Sum64()})
					}
				}
			}
			return true
		})
	})
	var groups [][]passage
	for _, g := range by {
		if len(g) > 1 {
			groups = append(groups, g)
		}
	}
	slices.SortFunc(groups, func(a, b []passage) int {
		return cmp.Or(b[0].nodes-a[0].nodes, cmp.Compare(a[0].f.path, b[0].f.path), int(a[0].from-b[0].from))
	})
	var taken []passage
	for _, g := range groups {
		var free []passage
		for _, p := range g {
			if !slices.ContainsFunc(taken, func(q passage) bool { return q.from < p.to && p.from < q.to }) {
				free = append(free, p)
			}
		}
		if len(free) < 2 {
			continue
		}
		taken = append(taken, free...)
		for i := range len(free) - 1 {
			pairs = append(pairs, fmt.Sprintf("%s and %s (%d nodes)", t.at(free[i]), t.at(free[i+1]), free[i].nodes))
		}
	}
	return pairs
}

var seed = maphash.MakeSeed()

func (t *tree) at(p passage) string {
	return fmt.Sprintf("%s:%d-%d", p.f.path, t.fset.Position(p.from).Line, t.fset.Position(p.to).Line)
}

// shape adds the kinds of a statement's nodes and its operators to h, and
// returns how many nodes it has.
func shape(h *maphash.Hash, s ast.Stmt) (nodes int) {
	ast.Inspect(s, func(n ast.Node) bool {
		if n == nil {
			h.WriteByte(')')
			return false
		}
		nodes++
		h.WriteString(reflect.TypeOf(n).Elem().Name())
		switch n := n.(type) {
		case *ast.BinaryExpr:
			h.WriteString(n.Op.String())
		case *ast.UnaryExpr:
			h.WriteString(n.Op.String())
		case *ast.AssignStmt:
			h.WriteString(n.Tok.String())
		case *ast.BranchStmt:
			h.WriteString(n.Tok.String())
		}
		return true
	})
	return nodes
}
