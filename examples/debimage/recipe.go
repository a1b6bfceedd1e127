package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strings"
)

// recipe is what an image holds.
type recipe struct {
	Packages []string
	// Files are single files of packages that are not wanted whole, as "package
	// /path".
	Files []string
	// Leave are patterns of paths that are left out of the image once everything is
	// installed; Keep are exceptions. A star stands for slashes too.
	Leave, Keep []string
}

var (
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	packageFile = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+ /[A-Za-z0-9_+./-]+$`)
)

// spared are the parts of every package that no program reads: manuals and
// translations. Licences stay, as they must.
var spared = recipe{
	Leave: []string{"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*", "/usr/share/bug/*", "/dev/*", "/etc/dpkg/dpkg.cfg.d/*mmdebstrap"},
	Keep:  []string{"/usr/share/doc/*/copyright", "/usr/share/locale/locale.alias"},
}

// readRecipe reads a recipe: "package", "package /path" or "-/path/pattern" a line.
func readRecipe(path string) (recipe, error) {
	f, err := os.Open(path)
	if err != nil {
		return recipe{}, err
	}
	defer f.Close()
	r := recipe{Leave: spared.Leave, Keep: spared.Keep}
	scan := bufio.NewScanner(f)
	for n := 1; scan.Scan(); n++ {
		line, _, _ := strings.Cut(scan.Text(), "#")
		switch line = strings.TrimSpace(line); {
		case line == "":
		case strings.HasPrefix(line, "-/"):
			r.Leave = append(r.Leave, line[1:])
		case packageName.MatchString(line):
			r.Packages = append(r.Packages, line)
		case packageFile.MatchString(line):
			r.Files = append(r.Files, line)
		default:
			return r, fmt.Errorf("%s:%d: %q is neither a package, nor a package and a /file of it, nor -/path/left/out", path, n, line)
		}
	}
	if err := scan.Err(); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	if len(r.Packages) == 0 {
		return r, fmt.Errorf("%s names no package", path)
	}
	sort.Strings(r.Packages)
	sort.Strings(r.Files)
	return r, nil
}

// leaves compiles the patterns into a function that tells what is left out.
func (r recipe) leaves() func(path string) bool {
	leave, keep := patterns(r.Leave), patterns(r.Keep)
	return func(path string) bool { return leave.MatchString(path) && !keep.MatchString(path) }
}

func patterns(list []string) *regexp.Regexp {
	quoted := make([]string, len(list))
	for i, p := range list {
		quoted[i] = strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, `.*`)
	}
	return regexp.MustCompile(`^(?:` + strings.Join(quoted, `|`) + `)$`)
}

// builderVersion changes whenever the same recipe would give another image.
const builderVersion = "1"

// key names the image of a recipe. Packages that Debian mends later do not change
// it: remove the cache to build anew.
func (r recipe) key(suite, architecture string) string {
	h := sha256.New()
	for _, list := range [][]string{{builderVersion, suite, architecture}, r.Packages, r.Files, r.Leave, r.Keep} {
		fmt.Fprintf(h, "%q\n", list)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
