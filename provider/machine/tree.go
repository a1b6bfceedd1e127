package machine

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

const (
	goos   = runtime.GOOS
	goarch = runtime.GOARCH
)

const (
	smallFile  = 64 << 10 // a file of /proc or /sys; of /proc/cpuinfo, its first processors
	maxEntries = 4096     // names of one folder
)

// tree reads below a root folder. Whatever cannot be read is empty: these files
// come and go with kernels and permissions.
type tree string

// read returns at most limit bytes.
func (t tree) read(path string, limit int64) string {
	// Not cleaned: ".." behind a link of /sys means the target's parent.
	f, err := os.Open(string(t) + "/" + path)
	if err != nil {
		return ""
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return ""
	}
	return string(raw)
}

// word is a file of one line.
func (t tree) word(path string) string { return strings.TrimSpace(t.read(path, smallFile)) }

// number is a file of one unsigned number.
func (t tree) number(path string) (uint64, bool) {
	n, err := strconv.ParseUint(t.word(path), 10, 64)
	return n, err == nil
}

func (t tree) exists(path string) bool {
	_, err := os.Stat(string(t) + "/" + path)
	return err == nil
}

// list names what is in a folder, sorted.
func (t tree) list(path string) []string {
	f, err := os.Open(filepath.Join(string(t), path))
	if err != nil {
		return nil
	}
	defer f.Close()
	names, err := f.Readdirnames(maxEntries)
	if err != nil {
		return nil
	}
	slices.Sort(names)
	return names
}

// field is the value of the first "name<sep> value" line.
func field(text, name, sep string) string {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, sep)
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// span counts a kernel list such as "0-3,8,10-11". Zero if it is malformed.
func span(list string) int {
	n := 0
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		from, to, ok := strings.Cut(part, "-")
		if !ok {
			to = from
		}
		a, errA := strconv.ParseUint(from, 10, 16)
		b, errB := strconv.ParseUint(to, 10, 16)
		if errA != nil || errB != nil || b < a {
			return 0
		}
		n += int(b-a) + 1
	}
	return n
}
