//go:build !linux

package probe

import (
	"context"
	"runtime"
)

// trials: elsewhere there is nothing yet that could be enforced.
func trials() []trial {
	return []trial{{"containment", "programs other than WebAssembly", func(context.Context) Wall {
		return open("nothing is enforced on "+runtime.GOOS+" yet", "use Linux, or WSL2 on Windows; WebAssembly programs run all the same")
	}}}
}
