package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// Check returns every broken rule of the tree, in the order of its files.
func Check(t *Tree) []Violation {
	var out []Violation
	for _, p := range t.Packages {
		out = append(out, checkPackage(p)...)
		for _, f := range p.Files {
			out = append(out, checkHouse(p, f)...)
			out = append(out, checkBans(p, f)...)
			out = append(out, checkSize(f)...)
		}
		if within(p.Dir, "mechanism") || within(p.Dir, "chain/x") {
			out = append(out, checkDeterminism(t, p)...)
		}
	}
	return out
}

// checkPackage looks at name and comment.
func checkPackage(p *Package) []Violation {
	var out []Violation
	if p.Name == "" {
		return nil // tests only
	}
	if badNames[p.Name] {
		out = append(out, Violation{p.Dir, fmt.Sprintf("package %s", p.Name), "a name says what is inside"})
	}
	if p.Name == "types" && !typesFolder(p.Dir) {
		out = append(out, Violation{p.Dir, "package types", "only a chain module's x/<module>/types may be called so"})
	}
	if within(p.Dir, "api") {
		for _, f := range p.Files {
			if !f.Generated {
				out = append(out, Violation{f.Path, "hand-written file", "only generated code lives in api"})
			}
		}
		return out
	}
	if !hasComment(p) {
		out = append(out, Violation{p.Dir, "no package comment", "a package says what it is for and what it deliberately is not"})
	}
	return out
}

func typesFolder(dir string) bool {
	parts := strings.Split(dir, "/")
	return len(parts) == 4 && parts[0] == "chain" && parts[1] == "x" && parts[3] == "types"
}

func hasComment(p *Package) bool {
	for _, f := range p.Files {
		if !f.Test && f.AST.Doc != nil && len(strings.Fields(f.AST.Doc.Text())) >= 5 {
			return true
		}
	}
	return false
}

// checkHouse holds imports of our own module to the map.
func checkHouse(p *Package, f *File) []Violation {
	h, ok := houseOf(p.Dir)
	if !ok {
		return []Violation{{p.Dir, "not on the map", "every folder has a place in ARCHITECTURE.md and a line in internal/archtest/rules.go"}}
	}
	var out []Violation
	for _, imp := range f.Imports {
		if !within(imp.Path, Module) {
			continue
		}
		dir := strings.TrimPrefix(strings.TrimPrefix(imp.Path, Module), "/")
		if dir == "" {
			dir = "."
		}
		if why := forbidden(h, p.Dir, dir, f.Test); why != "" {
			out = append(out, Violation{imp.Pos.String(), fmt.Sprintf("%s imports %s", p.Dir, dir), why})
		}
	}
	return out
}

// forbidden returns the reason why a package of house h may not import dir, or
// the empty string.
func forbidden(h house, from, dir string, test bool) string {
	if within(dir, "cmd") {
		return "a binary is not a library"
	}
	if within(dir, "internal/archtest") && from != "internal/archtest" {
		return "archtest is a test, not a library"
	}
	if a, b := module(from), module(dir); a != "" && b != "" && a != b && strings.HasSuffix(dir, "/keeper") && !test {
		return "chain/x/* never imports another module's keeper: declare an interface where it is used"
	}
	if h.Anyone || within(dir, h.Dir) {
		return ""
	}
	for _, may := range h.May {
		if within(dir, may) {
			return ""
		}
	}
	if test && within(dir, "chain") && within(from, "client") {
		return "" // what speaks to a chain is tested against one
	}
	if test && within(dir, "devnet") && !within(from, "mechanism") && !within(from, "wire") {
		return "" // a role's test may stand on a whole network
	}
	return h.Why
}

// module returns the chain module a folder belongs to, or the empty string.
func module(dir string) string {
	parts := strings.Split(dir, "/")
	if len(parts) < 3 || parts[0] != "chain" || parts[1] != "x" {
		return ""
	}
	return parts[2]
}

func houseOf(dir string) (house, bool) {
	best, found := house{}, false
	for _, h := range houses {
		if within(dir, h.Dir) && len(h.Dir) > len(best.Dir) {
			best, found = h, true
		}
	}
	return best, found
}

// checkBans holds every import to the list of bans.
func checkBans(p *Package, f *File) []Violation {
	var out []Violation
	for _, b := range bans {
		if !covers(b, p.Dir) || (f.Test && !b.Tests) {
			continue
		}
		for _, imp := range f.Imports {
			if slices.Contains(b.Allow, imp.Path) {
				continue
			}
			for _, banned := range b.Imports {
				if within(imp.Path, banned) {
					out = append(out, Violation{imp.Pos.String(), fmt.Sprintf("%s imports %s", p.Dir, imp.Path), b.Why})
				}
			}
		}
	}
	return out
}

func covers(b ban, dir string) bool {
	if b.In != "" && !within(dir, b.In) {
		return false
	}
	for _, e := range b.Except {
		if within(dir, e) {
			return false
		}
	}
	return true
}

func checkSize(f *File) []Violation {
	if f.Generated || f.Lines <= maxLines {
		return nil
	}
	return []Violation{{f.Path, fmt.Sprintf("%d lines", f.Lines), fmt.Sprintf("a file is one sitting, at most %d lines: split it by job", maxLines)}}
}

// checkDeterminism refuses what would let two machines compute different
// states: floats, goroutines, channels, the wall clock and the order of maps.
func checkDeterminism(t *Tree, p *Package) []Violation {
	var out []Violation
	maps := mapNames(p)
	for _, f := range p.Files {
		if f.Test || f.Generated || testPackage(p.Dir) {
			continue
		}
		add := func(n ast.Node, what, why string) {
			out = append(out, Violation{t.Fset.Position(n.Pos()).String(), what, why})
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			inspect(n, maps, add)
			return true
		})
	}
	return out
}

// testPackage reports whether a folder exists for tests only (leasetest, simulation).
func testPackage(dir string) bool {
	base := path.Base(dir)
	return strings.HasSuffix(base, "test") || base == "simulation"
}
