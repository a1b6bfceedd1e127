package content

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/moyai-network/moyai/internal/filename"
)

// Limits bound what a receiver accepts. EnsureDefaults fills zero fields.
type Limits struct {
	Bytes   uint64 // sum of file lengths; zero means 1 GiB
	Entries int    // files and folders; zero means 100,000
	Depth   int    // nesting of folders, the outermost counts as 1; zero means 32
	Name    int    // bytes of one name; zero means 255
}

// maxName is what file systems hold.
const maxName = 255

// maxBytes keeps sums with Limits.Bytes from overflowing: 64 PiB.
const maxBytes = 1 << 56

// EnsureDefaults fills what was left zero and cuts what no machine holds.
func (l *Limits) EnsureDefaults() {
	if l.Bytes == 0 {
		l.Bytes = 1 << 30
	}
	l.Bytes = min(l.Bytes, maxBytes)
	if l.Entries == 0 {
		l.Entries = 100_000
	}
	if l.Depth == 0 {
		l.Depth = 32
	}
	if l.Name == 0 || l.Name > maxName {
		l.Name = maxName
	}
}

// received is how many bytes may arrive in all. Without it, a DAG of empty leaves
// could be sent forever without ever reaching Bytes.
func (l *Limits) received() uint64 {
	return l.Bytes + l.Bytes/64 + uint64(l.Entries)*1024 + 1<<20
}

// checkName refuses names that would leave their folder, hide what they are, or
// not exist on some file system.
func checkName(name string, longest int) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%w: a name may not be %q", ErrUnsupported, name)
	case len(name) > longest:
		return fmt.Errorf("%w: name %.40q… has %d bytes, at most %d", ErrLimit, name, len(name), longest)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: name %q is not UTF-8", ErrUnsupported, name)
	case strings.ContainsAny(name, "/\\\x00"):
		return fmt.Errorf("%w: name %q contains a path separator", ErrUnsupported, name)
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f {
			return fmt.Errorf("%w: name %q contains a control character", ErrUnsupported, name)
		}
	}
	if !filename.Here(name) {
		return fmt.Errorf("%w: name %q cannot be a file's on this system", ErrUnsupported, name)
	}
	return nil
}
