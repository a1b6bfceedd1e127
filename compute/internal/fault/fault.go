// Package fault tells, from what a container engine said, whether an image is to
// blame that a container could not start. All engines pass on the words of the OCI
// runtime under them.
package fault

import (
	"fmt"
	"strings"
)

// Images picks out of runc's or runsc's words those that are about the image: its
// program is not there, or is none, or what it has where something must be
// mounted leads nowhere.
func Images(said string) string {
	for _, words := range []string{"too many levels of symbolic links", "not a directory", "is inside /proc"} {
		if _, at, ok := strings.Cut(said, "to rootfs at "); ok && strings.Contains(at, words) {
			where, _, _ := strings.Cut(at, ":")
			return fmt.Sprintf("%s in it is in the way (%s)", where, words)
		}
	}
	// runsc's own; it has no program that cannot be executed but these.
	for _, about := range []string{"failed to load ", "error finding executable ", "creating mount point ", "resolving symlinks to ", "failed to find initial "} {
		if _, rest, ok := strings.Cut(said, about); ok {
			return rest
		}
	}
	for _, words := range []string{"executable file not found", "no such file or directory", "permission denied", "exec format error", "not a directory", "is a directory"} {
		for _, before := range []string{"exec: ", "eaccess "} {
			if _, about, ok := strings.Cut(said, before); ok && strings.Contains(about, words) {
				return about
			}
		}
		if _, about, ok := strings.Cut(said, "chdir to cwd "); ok && strings.Contains(about, words) {
			return "working directory " + about
		}
	}
	return ""
}
