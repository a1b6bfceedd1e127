package supervise

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// enterDir holds what runc is told about programs that are let in, and what it
// answers: in memory, as the container may have filled the disk.
const enterDir = Box + "/enter"

// enterBytes bounds it.
const enterBytes = 8 * maxMessage

// door lets further programs into a running container.
type door struct {
	s        *supervisor
	listener *net.UnixListener
	entering chan struct{} // a token for each that begins
	all      sync.WaitGroup

	mu     sync.Mutex
	shut   bool
	inside int
	drawn  int // numbers given so far
}

// openDoor begins to listen. The path of a socket must be short, so it is
// reached through a handle of its folder.
func openDoor(s *supervisor) (*door, error) {
	if err := os.Mkdir(enterDir, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", enterDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, fmt.Sprintf("mode=0700,size=%d", enterBytes)); err != nil {
		return nil, fmt.Errorf("mount a tmpfs at %s: %w", enterDir, err)
	}
	bundle, err := os.Open(filepath.Join(s.job.Dir, BundleDir))
	if err != nil {
		return nil, err
	}
	defer bundle.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socketAt(bundle)})
	if err != nil {
		return nil, fmt.Errorf("listen for who wants to enter: %w", err)
	}
	l.SetUnlinkOnClose(false) // it goes with the bundle
	s.sentry = s.job.OCI.sentry(s.job.ID)
	d := &door{s: s, listener: l, entering: make(chan struct{}, maxEntering)}
	go d.listen()
	return d, nil
}

// socketAt names the socket in an open folder.
func socketAt(bundle *os.File) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", bundle.Fd(), SocketFile)
}

func (d *door) listen() {
	for {
		conn, err := d.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // too many open files, and some will close
			continue
		}
		if !d.begin() {
			conn.Close()
			return
		}
		go func() {
			defer d.end()
			defer conn.Close()
			d.serve(conn)
		}()
	}
}

// begin counts one that comes in, unless the door is shut.
func (d *door) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut {
		return false
	}
	d.inside++
	d.all.Add(1)
	return true
}

func (d *door) end() {
	d.mu.Lock()
	d.inside--
	d.mu.Unlock()
	d.all.Done()
}

// close lets nobody in any more and waits until all are out, which they are as
// soon as the container's first process has ended: before the container is
// removed, no runc may be about to enter it.
func (d *door) close() {
	if d == nil {
		return
	}
	d.mu.Lock()
	d.shut = true
	d.mu.Unlock()
	_ = d.listener.Close()
	out := make(chan struct{})
	go func() {
		d.all.Wait()
		close(out)
	}()
	select {
	case <-out:
	case <-time.After(5 * time.Second): // against what we did not think of
	}
}

// serve is one program, from the wish for it to its end.
func (d *door) serve(conn *net.UnixConn) {
	entry, streams, rest, err := receive(conn)
	defer closeAll(streams)
	if err != nil {
		say(conn, Entered{Error: err.Error()})
		return
	}
	v, terminal, err := d.admit(entry, streams)
	closeAll(streams) // the program has them, or nobody
	if err != nil {
		var r refusal
		say(conn, Entered{Error: err.Error(), Refused: errors.As(err, &r), Gone: errors.Is(err, errSandboxGone)})
		return
	}
	if err := sayWith(conn, Entered{}, terminal); err != nil {
		v.kill()
	}
	if terminal != nil {
		terminal.Close() // it is the caller's now
	}
	go obey(v, bufio.NewReaderSize(io.MultiReader(bytes.NewReader(rest), conn), maxWish))
	say(conn, Entered{Ended: true, Code: <-v.end()})
}

// refusal is an error in words for the tenant, whose doing it is.
type refusal struct{ words string }

func (r refusal) Error() string { return r.words }

// admit starts a program and takes hold of it, and of its terminal.
func (d *door) admit(e Entry, streams []*os.File) (visitor, *os.File, error) {
	d.mu.Lock()
	full := d.inside > maxEntered
	d.drawn++
	base := filepath.Join(enterDir, strconv.Itoa(d.drawn))
	d.mu.Unlock()
	if full {
		return nil, nil, fmt.Errorf("%d programs were let in already and still run, no more are", maxEntered)
	}
	d.entering <- struct{}{}
	defer func() { <-d.entering }()
	if d.s.job.OCI.GVisor() {
		return d.s.enterSandbox(e, streams)
	}
	return d.s.enterContainer(base, e, streams)
}

// visitor is a program that was let in, the first of a session of its own.
type visitor interface {
	// end tells its exit code once, or a negative number if nobody saw it.
	end() <-chan int
	// signal reaches the group that it leads, as a terminal's Ctrl-C does.
	signal(sig unix.Signal)
	// kill ends it with all of its session, unless it has ended by itself: then what
	// it has left behind was meant to stay.
	kill()
}

// obey does as the caller wishes until it hangs up, and then ends the program.
func obey(v visitor, in *bufio.Reader) {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			v.kill()
			return
		}
		var w Wish
		if json.Unmarshal(line, &w) != nil {
			continue
		}
		if sig := unix.SignalNum("SIG" + w.Signal); sig != 0 {
			v.signal(sig)
		}
	}
}

func say(w io.Writer, e Entered) { _ = sayWith(w, e, nil) } // who has gone does not hear

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // some are closed already
	}
}
