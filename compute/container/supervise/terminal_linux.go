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

// terminal is a pseudo terminal of the host's that carries one of a sandbox: it is raw,
// keys and line ends are the other's affair, and only its size is its own. The host's
// kernel signals a new size to processes of its own, and the sandbox has none: so a
// process of ours has the terminal, and says each on as one byte.
type terminal struct {
	outside, inside *os.File
	hear            *os.File // a byte for each new size
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
	return makeRaw(int(slave))
}

// makeRaw is cfmakeraw(3).
func makeRaw(fd int) error {
	how, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	how.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	how.Oflag &^= unix.OPOST
	how.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	how.Cflag = how.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	how.Cc[unix.VMIN], how.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, how)
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

// listen says each new size on until its input ends.
func listen() int {
	sizes := make(chan os.Signal, 1)
	signal.Notify(sizes, unix.SIGWINCH)
	signal.Ignore(unix.SIGHUP)
	go func() {
		_, _ = os.Stdout.Write([]byte{0}) // that it does
		for range sizes {
			_, _ = os.Stdout.Write([]byte{1}) // nobody may hear it any more
		}
	}()
	return beIdle()
}
