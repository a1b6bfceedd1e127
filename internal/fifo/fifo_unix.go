//go:build unix

package fifo

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Create makes the FIFO, or takes the one that is there, and returns its writing
// end. It waits for no reader, whose end of file comes with Close.
func Create(path string) (*os.File, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, &fs.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	return os.OpenFile(path, os.O_RDWR, 0)
}

// Open returns the reading end of a FIFO, or any other file. It does not wait for
// a writer, who may have died: without one, the first read is the end of file.
func Open(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if err := unix.SetNonblock(fd, false); err != nil { // who reads does not expect EAGAIN
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}
