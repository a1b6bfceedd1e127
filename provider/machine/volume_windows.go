package machine

import (
	"fmt"

	"golang.org/x/sys/windows"
)

func volume(path string) (Volume, error) {
	var v Volume
	name, err := windows.UTF16PtrFromString(path)
	if err == nil {
		err = windows.GetDiskFreeSpaceEx(name, &v.Free, &v.Size, nil)
	}
	if err != nil {
		return Volume{}, fmt.Errorf("disk space of %s: %w", path, err)
	}
	return v, nil
}
