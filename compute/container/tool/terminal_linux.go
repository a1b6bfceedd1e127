package tool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/container/supervise"
)

// onTerminal runs a program on a terminal of this system and returns how it ended,
// as shells tell it. Standard input and output carry the terminal.
func onTerminal(args []string) int {
	debug.SetGCPercent(50) // its memory is the task's
	unix.CloseOnExec(supervise.BegunFD)
	answer := os.NewFile(supervise.BegunFD, "answer")
	master, cmd, err := begin(args)
	begun := supervise.Begun{}
	if err == nil {
		begun.PID = cmd.Process.Pid
	} else {
		begun.Error, begun.Missing = err.Error(), missing(err)
	}
	_ = json.NewEncoder(answer).Encode(begun) // who does not hear it will end us
	_ = answer.Close()
	if err != nil {
		return 1
	}
	sizes := make(chan os.Signal, 1)
	signal.Notify(sizes, unix.SIGWINCH)
	go func() {
		for range sizes {
			_ = resize(master) // it may be gone
		}
	}()
	go func() {
		_, _ = io.Copy(master, os.Stdin)
		_ = master.Close() // nobody types any more: what runs here is hung up on
	}()
	shown := make(chan struct{})
	go func() {
		_, _ = io.Copy(os.Stdout, master)
		close(shown)
	}()
	_ = cmd.Wait() // its state says more
	_ = master.SetReadDeadline(time.Unix(1, 0))
	<-shown
	showRest(master)
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return 1
	case status.Signaled():
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// begin starts the program as the leader of a session of the terminal's.
func begin(args []string) (master *os.File, cmd *exec.Cmd, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	master = os.NewFile(uintptr(fd), "terminal")
	defer func() {
		if err != nil {
			_ = master.Close()
		}
	}()
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = resize(master)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make a terminal: %w", err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer slave.Close()
	cmd = exec.Command(args[0], args[1:]...)
	if errors.Is(cmd.Err, exec.ErrDot) {
		cmd.Err = nil // shells take it
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return master, cmd, cmd.Start()
}

// missing reports that the program is not there, or is none.
func missing(err error) bool {
	for _, what := range []error{exec.ErrNotFound, unix.ENOENT, unix.EACCES, unix.ENOEXEC, unix.ENOTDIR, unix.EISDIR, unix.ELOOP} {
		if errors.Is(err, what) {
			return true
		}
	}
	return false
}

// resize gives the terminal the size of the one that carries it.
func resize(master *os.File) error {
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		return err
	}
	raw, err := master.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
	return errors.Join(err, set)
}

// showRest shows what the program wrote last. It waits for no more: something that
// was left behind may hold the terminal for ever.
func showRest(master *os.File) {
	_ = master.SetReadDeadline(time.Time{})
	raw, err := master.SyscallConn()
	if err != nil {
		return
	}
	piece := make([]byte, 32<<10)
	for range 64 {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.Read(int(fd), piece)
			return true
		})
		if err != nil || n <= 0 {
			return
		}
		_, _ = os.Stdout.Write(piece[:n])
	}
}
