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
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/internal/fault"
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
	v, err := d.admit(entry, streams)
	closeAll(streams) // the program has them, or nobody
	if err != nil {
		var r refusal
		say(conn, Entered{Error: err.Error(), Refused: errors.As(err, &r)})
		return
	}
	if err := sayWith(conn, Entered{}, v.terminal); err != nil {
		v.kill()
	}
	if v.terminal != nil {
		v.terminal.Close() // it is the caller's now
	}
	go v.obey(bufio.NewReaderSize(io.MultiReader(bytes.NewReader(rest), conn), maxWish))
	say(conn, Entered{Ended: true, Code: exitCode(<-v.end)})
}

// refusal is an error in words for the tenant, whose doing it is.
type refusal struct{ words string }

func (r refusal) Error() string { return r.words }

// admit starts a program with runc, which leaves it to us, and takes hold of it.
func (d *door) admit(e Entry, streams []*os.File) (*visitor, error) {
	d.mu.Lock()
	full := d.inside > maxEntered
	d.drawn++
	base := filepath.Join(enterDir, strconv.Itoa(d.drawn))
	d.mu.Unlock()
	if full {
		return nil, fmt.Errorf("%d programs were let in already and still run, no more are", maxEntered)
	}
	d.entering <- struct{}{}
	defer func() { <-d.entering }()
	process, pidFile, log := base+".json", base+".pid", base+".log"
	defer func() {
		for _, path := range []string{process, pidFile, log} {
			os.Remove(path)
		}
	}()
	if err := os.WriteFile(process, e.Process, 0o600); err != nil {
		return nil, err
	}
	args := []string{"exec", "--detach", "--process", process, "--pid-file", pidFile}
	var c *console
	if e.Terminal {
		var err error
		if c, err = listenForConsole(base + ".tty"); err != nil {
			return nil, err
		}
		defer c.close()
		args = append(args, "--console-socket", base+".tty")
	}
	cmd := d.s.job.OCI.Command(d.s.job.ID, log, append(args, d.s.job.ID)...)
	if !e.Terminal {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = streams[0], streams[1], streams[2]
	}
	defer d.s.children.claim()()
	if err := d.s.children.run(cmd); err != nil {
		return nil, whyNotIn(runcSaid(log, err))
	}
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return nil, err
	}
	v := &visitor{s: d.s}
	if v.pid, err = strconv.Atoi(strings.TrimSpace(string(b))); err != nil {
		return nil, fmt.Errorf("read the program's pid: %w", err)
	}
	v.end = d.s.children.wait(v.pid)
	if c != nil {
		if v.terminal, err = c.take(); err != nil {
			v.kill()
			return nil, err
		}
	}
	return v, nil
}

// whyNotIn sorts runc's words: the tenant's own doing, a container that is full,
// and all else.
func whyNotIn(said string) error {
	if why := fault.Images(said); why != "" {
		return refusal{why}
	}
	for _, words := range []string{"resource temporarily unavailable", "cannot allocate memory"} {
		if strings.Contains(said, words) {
			return fmt.Errorf("the task has used up its processes or its memory, so nothing more can begin in there (%s)", words)
		}
	}
	return fmt.Errorf("runc exec: %s", said)
}

// visitor is a program that was let in. It is our child, as runc has left it to
// us, and the first of a session of its own.
type visitor struct {
	s        *supervisor
	pid      int
	end      <-chan syscall.WaitStatus
	terminal *os.File
}

// obey does as the caller wishes until it hangs up, and then ends the program.
func (v *visitor) obey(in *bufio.Reader) {
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
		// To the group that it leads, as a terminal's Ctrl-C does.
		if sig := unix.SignalNum("SIG" + w.Signal); sig != 0 {
			v.s.children.signal(v.pid, sig)
		}
	}
}

// kill ends the program with all of its session, unless it has ended by itself:
// then what it has left behind was meant to stay.
func (v *visitor) kill() {
	if v.s.children.lives(v.pid) {
		killSession(v.s.cgroup, v.pid)
	}
}

func say(w io.Writer, e Entered) { _ = sayWith(w, e, nil) } // who has gone does not hear

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // some are closed already
	}
}
