//go:build !linux && !windows

package guestfs

import (
	"os"

	experimentalsys "github.com/tetratelabs/wazero/experimental/sys"
)

// futimens is left out where no portable call exists: WASI programs that need
// it are rare and told so.
func futimens(*os.File, int64, int64) experimentalsys.Errno { return experimentalsys.ENOSYS }
