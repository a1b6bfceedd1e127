package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal of the host's for a program of a sandbox. The
// host's kernel signals keys and sizes to processes of its own, and the sandbox has
// none: so a process of ours has the terminal, and says each signal on as one byte.
type terminal struct {
	outside, inside *os.File
	hear            *os.File // a byte for each signal
	leave           *os.File // closing it ends the process
}

// listener is the argument of the process that has a terminal.
const listener = "listen"

func openTerminal(columns, rows uint16) (*terminal, error) {
	t := new(terminal)
	err := t.open(columns, rows)
	if err == nil {
		err = t.listen()
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("make a terminal: %w", err)
	}
	return t, nil
}

func (t *terminal) open(columns, rows uint16) error {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	t.outside = os.NewFile(uintptr(master), "terminal")
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	if err := unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		return err
	}
	slave, _, number := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if number != 0 {
		return number
	}
	t.inside = os.NewFile(slave, "terminal")
	return nil
}

// listen starts the process and waits until it hears.
func (t *terminal) listen() error {
	hear, say, err := os.Pipe()
	if err != nil {
		return err
	}
	t.hear = hear
	stay, leave, err := os.Pipe()
	if err != nil {
		return errors.Join(err, say.Close())
	}
	t.leave = leave
	cmd := exec.Command("/proc/self/exe", listener)
	cmd.Stdin, cmd.Stdout, cmd.ExtraFiles = stay, say, []*os.File{t.inside}
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	err = cmd.Start() // children reaps it
	closeAll([]*os.File{stay, say})
	if err != nil {
		return err
	}
	_ = cmd.Process.Release()
	if _, err := hear.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("listen to it: %w", err)
	}
	return nil
}

func (t *terminal) close() {
	for _, f := range []*os.File{t.outside, t.inside, t.hear, t.leave} {
		if f != nil {
			_ = f.Close() // the inner end may be closed already
		}
	}
}

// listen says each signal on until its input ends.
func listen() int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGWINCH, unix.SIGHUP)
	go func() {
		_, _ = os.Stdout.Write([]byte{0}) // that it does
		for sig := range signals {
			if number, ok := sig.(syscall.Signal); ok {
				_, _ = os.Stdout.Write([]byte{byte(number)}) // nobody may hear it any more
			}
		}
	}()
	return beIdle()
}
