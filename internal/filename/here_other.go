//go:build !windows

package filename

import "strings"

// Here is the same for this system.
func Here(name string) bool { return name != "" && !strings.ContainsAny(name, "/\x00") }
