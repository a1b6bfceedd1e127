//go:build !linux && !darwin && !windows

package machine

import "errors"

func volume(string) (Volume, error) {
	return Volume{}, errors.New("disk space is not found on this system: say it with --disk")
}
