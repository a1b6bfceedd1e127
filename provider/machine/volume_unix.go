//go:build linux || darwin

package machine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func volume(path string) (Volume, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return Volume{}, fmt.Errorf("disk space of %s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Volume{}, fmt.Errorf("disk of %s: %w", path, err)
	}
	unit, device := uint64(fs.Bsize), uint64(st.Dev) //nolint:unconvert // int32 on darwin
	return Volume{
		Size: fs.Blocks * unit, Free: fs.Bavail * unit,
		Major: unix.Major(device), Minor: unix.Minor(device),
	}, nil
}
