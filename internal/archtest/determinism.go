package archtest

import (
	"go/ast"
	"go/token"
	"strings"
)

const (
	whyFloat = "floating point differs between machines and rounds without saying so; amounts and rates are integers"
	whyGo    = "a rule runs in one goroutine: order of execution is part of the result"
	whyMap   = "the order of a map is random: range over a sorted slice"
	whyClock = "time enters as a value: block time, meter time or height"
)

// mapNames collects, for one package, every name that is declared with a map
// type anywhere in it: variables, fields, parameters, results, named types and
// functions that return a map. Without type checking a name stands for all its
// uses in the package; a false alarm is answered by a better name.
func mapNames(p *Package) map[string]bool {
	names := map[string]bool{}
	for pass := 0; pass < 2; pass++ { // the second pass sees named map types of the first
		for _, f := range p.Files {
			if f.Test || f.Generated {
				continue
			}
			ast.Inspect(f.AST, func(n ast.Node) bool {
				collect(n, names)
				return true
			})
		}
	}
	return names
}

func collect(n ast.Node, names map[string]bool) {
	switch n := n.(type) {
	case *ast.Field:
		if isMap(n.Type, names) {
			for _, id := range n.Names {
				names[id.Name] = true
			}
		}
	case *ast.TypeSpec:
		if isMap(n.Type, names) {
			names[n.Name.Name] = true
		}
	case *ast.ValueSpec:
		for i, id := range n.Names {
			if isMap(n.Type, names) || (i < len(n.Values) && isMap(n.Values[i], names)) {
				names[id.Name] = true
			}
		}
	case *ast.AssignStmt:
		for i, lhs := range n.Lhs {
			id, ok := lhs.(*ast.Ident)
			if ok && n.Tok == token.DEFINE && len(n.Lhs) == len(n.Rhs) && isMap(n.Rhs[i], names) {
				names[id.Name] = true
			}
		}
	case *ast.FuncDecl:
		if r := n.Type.Results; r != nil && len(r.List) > 0 && isMap(r.List[0].Type, names) {
			names[n.Name.Name] = true
		}
	}
}

// isMap reports whether a type or value expression is a map, as far as syntax
// and the names collected so far can tell.
func isMap(e ast.Expr, names map[string]bool) bool {
	switch e := e.(type) {
	case *ast.MapType:
		return true
	case *ast.CompositeLit:
		return isMap(e.Type, names)
	case *ast.CallExpr:
		if id, ok := e.Fun.(*ast.Ident); ok && id.Name == "make" && len(e.Args) > 0 {
			return isMap(e.Args[0], names)
		}
		return isMap(e.Fun, names)
	case *ast.Ident:
		return names[e.Name]
	case *ast.SelectorExpr:
		return names[e.Sel.Name]
	case *ast.ParenExpr:
		return isMap(e.X, names)
	case *ast.StarExpr:
		return isMap(e.X, names)
	}
	return false
}

// inspect reports what of one node breaks determinism.
func inspect(n ast.Node, maps map[string]bool, add func(n ast.Node, what, why string)) {
	switch n := n.(type) {
	case *ast.BasicLit:
		if n.Kind == token.FLOAT || n.Kind == token.IMAG {
			add(n, "literal "+n.Value, whyFloat)
		}
	case *ast.Ident:
		switch n.Name {
		case "float32", "float64", "complex64", "complex128":
			add(n, n.Name, whyFloat)
		}
	case *ast.GoStmt:
		add(n, "go statement", whyGo)
	case *ast.SelectStmt:
		add(n, "select statement", whyGo)
	case *ast.ChanType:
		add(n, "channel", whyGo)
	case *ast.RangeStmt:
		if isMap(n.X, maps) {
			add(n, "range over a map", whyMap)
		}
	case *ast.SelectorExpr:
		if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "math" && !integerLimit(n.Sel.Name) {
			add(n, "math."+n.Sel.Name, whyFloat)
		}
	case *ast.CallExpr:
		inspectCall(n, add)
	}
}

// integerLimit reports whether a name of package math is an integer constant
// such as MaxUint64, or an integer type of cosmossdk.io/math.
func integerLimit(name string) bool {
	return strings.Contains(name, "Int") || strings.Contains(name, "Uint")
}

func inspectCall(n *ast.CallExpr, add func(n ast.Node, what, why string)) {
	sel, ok := n.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	pkg, ok := sel.X.(*ast.Ident)
	if !ok {
		return
	}
	switch pkg.Name + "." + sel.Sel.Name {
	case "time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.NewTimer", "time.NewTicker":
		add(n, pkg.Name+"."+sel.Sel.Name, whyClock)
	case "maps.Keys", "maps.Values", "maps.All":
		add(n, pkg.Name+"."+sel.Sel.Name, whyMap)
	}
}
