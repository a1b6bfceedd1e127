package supervise

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute"
)

// Visit is the caller's end of a program that was let in.
type Visit struct {
	conn *net.UnixConn
	in   *bufio.Reader
	// Terminal is the program's, if it was asked for one.
	Terminal *os.File
}

// Enter asks the supervisor of the task in dir to run a further program, with
// streams as its standard input, output and error, or with none of them and a
// terminal. It returns when the program runs.
//
// Errors: compute.ErrNotFound (the task has ended), compute.ErrBadProgram,
// compute.ErrUnavailable, ctx's.
func Enter(ctx context.Context, dir string, e Entry, streams []*os.File) (*Visit, error) {
	conn, err := knock(dir)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // and so the program is killed, if it runs
	v, err := enter(conn, e, streams)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		if v != nil && v.Terminal != nil {
			v.Terminal.Close()
		}
		return nil, err
	}
	return v, nil
}

func knock(dir string) (*net.UnixConn, error) {
	bundle, err := os.Open(filepath.Join(dir, BundleDir))
	if err == nil {
		defer bundle.Close()
		var conn *net.UnixConn
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: socketAt(bundle)})
		if err == nil {
			return conn, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: the task has ended", compute.ErrNotFound)
	}
	return nil, fmt.Errorf("%w: reach what stands over the task: %w", compute.ErrUnavailable, err)
}

func enter(conn *net.UnixConn, e Entry, streams []*os.File) (*Visit, error) {
	gone := func(err error) error { return fmt.Errorf("%w: the task has just ended (%w)", compute.ErrNotFound, err) }
	if err := sayWith(conn, e, streams...); err != nil {
		return nil, gone(err)
	}
	line, rest, fds, err := receiveLine(conn)
	if err != nil {
		closeFDs(fds)
		return nil, gone(err)
	}
	v := &Visit{conn: conn, in: bufio.NewReader(io.MultiReader(bytes.NewReader(rest), conn))}
	if len(fds) > 0 {
		_ = unix.SetNonblock(fds[0], true) // so that reading it can be given up
		v.Terminal = os.NewFile(uintptr(fds[0]), "terminal")
		closeFDs(fds[1:])
	}
	var answer Entered
	if err := json.Unmarshal(line, &answer); err != nil {
		return v, fmt.Errorf("%w: what stands over the task makes no sense: %w", compute.ErrUnavailable, err)
	}
	switch {
	case answer.Gone:
		return v, fmt.Errorf("%w: %s", compute.ErrNotFound, answer.Error)
	case answer.Refused:
		return v, fmt.Errorf("%w: %s", compute.ErrBadProgram, answer.Error)
	case answer.Error != "":
		return v, fmt.Errorf("%w: %s", compute.ErrUnavailable, answer.Error)
	case e.Terminal && v.Terminal == nil:
		return v, fmt.Errorf("%w: no terminal came", compute.ErrUnavailable)
	}
	return v, nil
}

// Wish asks something of the program.
func (v *Visit) Wish(w Wish) error { return sayWith(v.conn, w) }

// HangUp has the program killed, with its session; End still says how it ended.
func (v *Visit) HangUp() error { return v.conn.CloseWrite() }

// End waits until the program has ended and returns its exit code.
//
// Errors: compute.ErrUnavailable if nobody saw how it ended.
func (v *Visit) End() (int, error) {
	line, err := v.in.ReadBytes('\n') // it is our own program that answers
	var answer Entered
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	if err != nil || !answer.Ended || answer.Code < 0 {
		return -1, fmt.Errorf("%w: nobody saw how the program ended", compute.ErrUnavailable)
	}
	return answer.Code, nil
}

// Close frees the connection; the program is killed if it still runs.
func (v *Visit) Close() error { return v.conn.Close() }
