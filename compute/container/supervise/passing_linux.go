package supervise

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// streams is how many a program without a terminal has.
const streams = 3

// receive reads an Entry, the files attached to its first byte, and returns the
// bytes that followed it.
func receive(conn *net.UnixConn) (e Entry, files []*os.File, rest []byte, err error) {
	line, rest, fds, err := receiveLine(conn)
	for _, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), "passed"))
	}
	if err == nil {
		err = json.Unmarshal(line, &e)
	}
	if err != nil {
		return e, files, nil, fmt.Errorf("read the wish to enter: %w", err)
	}
	want := streams
	if e.Terminal {
		want = 0
	}
	if len(files) != want {
		return e, files, nil, fmt.Errorf("%d streams came with the wish to enter, not %d", len(files), want)
	}
	return e, files, rest, nil
}

// receiveLine reads a line, the descriptors attached to its first byte, which
// are the caller's also after an error, and returns the bytes that followed it.
func receiveLine(conn *net.UnixConn) (line, rest []byte, fds []int, err error) {
	chunk, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4*streams))
	for {
		n, oobn, _, _, err := conn.ReadMsgUnix(chunk, oob)
		if err != nil {
			return nil, nil, fds, err
		}
		fds = append(fds, attached(oob[:oobn])...)
		end := bytes.IndexByte(chunk[:n], '\n')
		switch {
		case n == 0:
			return nil, nil, fds, io.ErrUnexpectedEOF
		case end >= 0:
			return append(line, chunk[:end]...), chunk[end+1 : n], fds, nil
		}
		if line = append(line, chunk[:n]...); len(line) > maxMessage {
			return nil, nil, fds, fmt.Errorf("a message has more than %d bytes", maxMessage)
		}
	}
}

func attached(oob []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if more, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, more...)
		}
	}
	return fds
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// sayWith writes a line of JSON with files attached to its first byte.
func sayWith(w io.Writer, v any, files ...*os.File) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	var fds []int
	for _, f := range files {
		if f != nil {
			fds = append(fds, int(f.Fd()))
		}
	}
	conn, ok := w.(*net.UnixConn)
	if !ok || len(fds) == 0 {
		_, err = w.Write(b)
		return err
	}
	n, _, err := conn.WriteMsgUnix(b, unix.UnixRights(fds...), nil)
	if err == nil && n < len(b) {
		_, err = io.Copy(conn, bytes.NewReader(b[n:]))
	}
	return err
}

// console is where runc hands over a terminal.
type console struct{ listener *net.UnixListener }

func listenForConsole(path string) (*console, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, fmt.Errorf("listen for a terminal: %w", err)
	}
	return &console{l}, nil
}

// take returns the terminal, which runc has sent before it ended.
func (c *console) take() (*os.File, error) {
	deadline := time.Now().Add(5 * time.Second)
	if err := c.listener.SetDeadline(deadline); err != nil {
		return nil, err
	}
	conn, err := c.listener.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("wait for the terminal: %w", err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	name, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, oobn, _, _, err := conn.ReadMsgUnix(name, oob)
	if err != nil {
		return nil, fmt.Errorf("wait for the terminal: %w", err)
	}
	fds := attached(oob[:oobn])
	if len(fds) != 1 {
		closeFDs(fds)
		return nil, fmt.Errorf("wait for the terminal: runc sent %d files", len(fds))
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}

func (c *console) close() { _ = c.listener.Close() }
