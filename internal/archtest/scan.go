package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
)

// Module is the path all our own imports start with.
const Module = "github.com/moyai-network/moyai"

// File is one parsed Go source file.
type File struct {
	Path      string // slash-separated, relative to the module root
	Test      bool   // named *_test.go
	Generated bool   // carries the standard "Code generated" line
	Lines     int
	Imports   []Import
	AST       *ast.File
}

// Import is one import declaration.
type Import struct {
	Path string
	Pos  token.Position
}

// Package is the files of one folder.
type Package struct {
	Dir   string // relative to the module root, "." for the root
	Name  string // from the first file that is not a test
	Files []*File
}

// Tree is every package of the module.
type Tree struct {
	Fset     *token.FileSet
	Packages []*Package // sorted by Dir
}

// skipped folders hold no source of the module.
var skipped = map[string]bool{"bin": true, "demo": true, "net": true, "testdata": true, "node_modules": true}

// Load parses every Go file below the root of fsys. Folders that start with a
// dot or underscore, testdata and nested modules are left out, as the go
// command does.
func Load(fsys fs.FS) (*Tree, error) {
	tree := &Tree{Fset: token.NewFileSet()}
	byDir := map[string]*Package{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(fsys, name)
		}
		if path.Ext(name) != ".go" || !d.Type().IsRegular() {
			return nil
		}
		f, pkgName, err := parse(tree.Fset, fsys, name)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		p := byDir[dir]
		if p == nil {
			p = &Package{Dir: dir}
			byDir[dir] = p
			tree.Packages = append(tree.Packages, p)
		}
		if !f.Test && p.Name == "" {
			p.Name = pkgName
		}
		p.Files = append(p.Files, f)
		return nil
	})
	sort.Slice(tree.Packages, func(i, j int) bool { return tree.Packages[i].Dir < tree.Packages[j].Dir })
	return tree, err
}

// enter says whether to descend into a folder.
func enter(fsys fs.FS, dir string) error {
	if dir == "." {
		return nil
	}
	base := path.Base(dir)
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || skipped[base] {
		return fs.SkipDir
	}
	if _, err := fs.Stat(fsys, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir // a module of its own
	}
	return nil
}

func parse(fset *token.FileSet, fsys fs.FS, name string) (*File, string, error) {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, "", err
	}
	tree, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, "", fmt.Errorf("parse: %w", err)
	}
	f := &File{
		Path:      name,
		Test:      strings.HasSuffix(name, "_test.go"),
		Generated: ast.IsGenerated(tree),
		Lines:     bytes.Count(src, []byte{'\n'}),
		AST:       tree,
	}
	for _, spec := range tree.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, "", fmt.Errorf("%s: import %s: %w", name, spec.Path.Value, err)
		}
		f.Imports = append(f.Imports, Import{Path: p, Pos: fset.Position(spec.Pos())})
	}
	return f, tree.Name.Name, nil
}

// Violation is one broken rule.
type Violation struct {
	Where string // file:line or package folder
	What  string
	Why   string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s\n\twhy: %s", v.Where, v.What, v.Why)
}

// within reports whether path is prefix or lies below it.
func within(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}
