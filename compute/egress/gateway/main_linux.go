package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/egress/flowlog"
	"github.com/moyai-network/moyai/compute/egress/uplink"
	"github.com/moyai-network/moyai/compute/internal/seccomp"
)

// maxOrder bounds what the gateway is told: a policy of the most rules fits.
const maxOrder = 1 << 20

// Main is the gateway's process: it carries until its standard input ends, and
// returns the exit code.
func Main() int {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "moyai-egress:", err)
		return 1
	}
	return 0
}

func run(in io.Reader, out io.Writer) error {
	if err := unix.SetNonblock(uplink.TunFD, true); err != nil {
		return fmt.Errorf("no TUN device was handed over: it is started by moyai and of no use by hand (%w)", err)
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	words := bufio.NewReader(in)
	line, err := words.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) && len(line) < maxOrder {
		var more []byte
		line = append([]byte(nil), line...)
		more, err = words.ReadSlice('\n')
		line = append(line, more...)
	}
	var order uplink.Order
	if err == nil {
		err = json.Unmarshal(line, &order)
	}
	if err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	order.Egress.EnsureDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	g, err := build(ctx, order)
	if err != nil {
		return err
	}
	if err := become(order.UID, order.GID); err != nil {
		return err
	}
	if err := confine(); err != nil {
		return err
	}
	link := &device{file: os.NewFile(uplink.TunFD, "tun"), fd: uplink.TunFD}
	if _, err := newStack(g, link); err != nil {
		return err
	}
	if _, err := io.WriteString(out, uplink.Ready); err != nil {
		return err
	}
	go g.watch()
	gone := make(chan error, 2)
	go func() { gone <- link.carry(g) }()
	go func() {
		_, _ = io.Copy(io.Discard, words)
		gone <- nil // whoever stands over the task lets go
	}()
	err = <-gone
	cancel()
	g.log.Flush()
	return err
}

func build(ctx context.Context, order uplink.Order) (*gateway, error) {
	ledger, err := openLedger(os.NewFile(uplink.LedgerFD, "ledger"))
	if err != nil {
		return nil, err
	}
	counter, err := openLedger(os.NewFile(uplink.CounterFD, "counter"))
	if err != nil {
		return nil, err
	}
	log := flowlog.NewWriter(os.NewFile(uplink.LogFD, "log"), order.Egress.LogBytes, order.Egress.Tag, order.Task)
	around := &surroundings{shunned: os.NewFile(uplink.ShunnedFD, "shunned")}
	return newGateway(ctx, order, log, around, ledger, counter), nil
}

// become leaves root for a user that is nobody on this machine.
func become(uid, gid int) error {
	if uid <= 0 || gid <= 0 {
		return fmt.Errorf("user %d and group %d are somebody", uid, gid)
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(gid, gid, gid), syscall.Setresuid(uid, uid, uid)); err != nil {
		return fmt.Errorf("become nobody: %w", err)
	}
	// Ending with whoever started us: asked for after the change, which forgets it.
	// The end of the standard input says the same; this is for one that is held open.
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

// Limits of the process itself.
const (
	processMemory = 384 << 20
	moreNice      = 5 // the owner's own programs come first
)

// confine gives up everything that carrying does not need. It is nobody already;
// this is for the day that the stack has a hole.
func confine() error {
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, moreNice) // no harm if it may not
	for which, value := range map[int]uint64{unix.RLIMIT_DATA: processMemory, unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 1 << 40} {
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit the gateway: %w", err)
		}
	}
	if os.Geteuid() == 0 {
		return errors.New("the gateway must not be root")
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	// The resolvers' addresses are all it reads; world-readable files beside them
	// hold no secrets.
	dirs := []string{filepath.Dir(resolvConf)}
	if real, err := filepath.EvalSymlinks(resolvConf); err == nil {
		dirs = append(dirs, filepath.Dir(real))
	}
	if err := landlock.V5.BestEffort().RestrictPaths(landlock.RODirs(dirs...)); err != nil {
		return fmt.Errorf("leave the file system: %w", err)
	}
	return seccomp.Deny(append([]uint32{unix.SYS_LISTEN, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_SOCKETPAIR}, seccomp.Never...))
}

func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 { //nolint:gosec // the kernel takes addresses
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}
