package compute

import (
	"path"
	"slices"
	"strings"
)

// Bounds of an Exec beside those of a Spec.
const (
	MaxUser = 256  // bytes of Exec.User
	MaxPath = 4096 // bytes of Exec.Dir, and of a tool's path
)

// signals are what Process.Signal takes.
var signals = []string{"INT", "TERM", "KILL", "HUP", "QUIT", "USR1", "USR2", "WINCH"}

// ValidSignal reports whether Process.Signal takes the name.
func ValidSignal(name string) bool { return slices.Contains(signals, name) }

// Validate checks an Exec's form. Whether its program, folder and user exist is
// for Exec to find.
//
// Errors: ErrInvalidSpec.
func (e *Exec) Validate() error {
	switch e.Tool {
	case ToolNone:
		if len(e.Args) == 0 || e.Args[0] == "" {
			return invalid("no program is named")
		}
	case ToolSFTP:
		if len(e.Args) != 0 {
			return invalid("the tool %s takes no arguments, %d were given", e.Tool, len(e.Args))
		}
	case ToolTarOut, ToolTarIn:
		if len(e.Args) != 1 || e.Args[0] == "" || len(e.Args[0]) > MaxPath {
			return invalid("the tool %s takes one path of at most %d bytes", e.Tool, MaxPath)
		}
	default:
		return invalid("there is no tool %.100q", string(e.Tool))
	}
	if err := validEnv(e.Env); err != nil {
		return err
	}
	if err := validWords(e.Args, e.Env); err != nil {
		return err
	}
	if e.Dir != "" && (!path.IsAbs(e.Dir) || len(e.Dir) > MaxPath || strings.IndexByte(e.Dir, 0) >= 0) {
		return invalid("working directory %.200q is not an absolute path of at most %d bytes", e.Dir, MaxPath)
	}
	if len(e.User) > MaxUser || strings.IndexByte(e.User, 0) >= 0 {
		return invalid("user %.100q: use a name, a number or two as in 1000:1000", e.User)
	}
	return nil
}
