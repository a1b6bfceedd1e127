package docker

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moyai-network/moyai/compute"
)

// readable lets a container's user read an input, who is nobody on this machine. The
// folders above keep everybody else away. Links are left alone: what they lead to is
// not the input's.
//
// Errors: compute.ErrUnavailable.
func readable(in compute.Input) error {
	err := open(in.Path)
	if err != nil {
		return fmt.Errorf("%w: input %s cannot be shown to a container: %w", compute.ErrUnavailable, in.Name, err)
	}
	return nil
}

func open(path string) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), filepath.Base(path), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		more := fs.FileMode(0o444)
		switch {
		case info.IsDir():
			more = 0o555
		case !info.Mode().IsRegular():
			return nil
		}
		if info.Mode().Perm()&more == more {
			return nil
		}
		return root.Chmod(name, info.Mode().Perm()|more)
	})
}
