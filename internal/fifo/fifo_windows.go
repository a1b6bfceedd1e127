package fifo

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// room is what a pipe takes in before writing waits.
const room = 64 << 10

// pipe is the name of a path's pipe: names of pipes are the whole machine's.
func pipe(path string) (*uint16, error) {
	return windows.UTF16PtrFromString(fmt.Sprintf(`\\.\pipe\moyai-%.16x`, sha256.Sum256([]byte(strings.ToLower(path)))))
}

// Create makes the pipe and returns its writing end. It waits for no reader, whose
// end of file comes with Close. Write only once the reader has opened it.
func Create(path string) (*os.File, error) {
	name, err := pipe(path)
	if err != nil {
		return nil, err
	}
	// Without this everybody may read. It is for the owner and the system, and no
	// second instance of the name can be made by anybody.
	sd, err := windows.SecurityDescriptorFromString("D:P(A;;GA;;;OW)(A;;GA;;;SY)")
	if err != nil {
		return nil, err
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	h, err := windows.CreateNamedPipe(name,
		windows.PIPE_ACCESS_OUTBOUND|windows.FILE_FLAG_FIRST_PIPE_INSTANCE|windows.FILE_FLAG_OVERLAPPED,
		windows.PIPE_TYPE_BYTE|windows.PIPE_REJECT_REMOTE_CLIENTS, 1, room, room, 0, sa)
	if err != nil {
		return nil, &fs.PathError{Op: "create pipe", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// Open returns the reading end, of a plain file where there is one. Without a
// writer, who may have died, the first read is the end of file.
func Open(path string) (*os.File, error) {
	f, err := os.Open(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	name, err := pipe(path)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ, 0, nil, windows.OPEN_EXISTING, 0, 0)
	if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) {
		return os.Open(os.DevNull)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open pipe", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}
