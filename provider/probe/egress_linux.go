package probe

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// filters are the programs that set the kernel's packet filter, the better one
// first, with a rule that lets nothing out.
var filters = []struct {
	program string
	args    []string
	rules   string
}{
	{"nft", []string{"-f", "-"}, "add table inet moyai\nadd chain inet moyai out { type filter hook output priority 0; policy drop; }\n"},
	{"iptables", []string{"-w", "2", "-P", "OUTPUT", "DROP"}, ""},
}

// tryEgress lets nothing out of a network namespace of its own, and sends.
func tryEgress(ctx context.Context) Wall {
	var said []string
	for _, f := range filters {
		program, err := findProgram(f.program)
		if err != nil {
			continue
		}
		w := aside(func() Wall { return tryFilter(ctx, program, f.args, f.rules) })
		if w.Held || w.Fix != "" { // whoever may not even try has no use for another program
			return w
		}
		said = append(said, f.program+": "+w.Why)
	}
	if said == nil {
		return open("neither nft nor iptables is installed", "sudo apt install nftables")
	}
	return open(strings.Join(said, "; "), "sudo modprobe nf_tables")
}

func tryFilter(ctx context.Context, program string, args []string, rules string) Wall {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return refused("make a network namespace", err)
	}
	if err := send(); err != nil {
		return refused("send in a network namespace", err)
	}
	// Started from this thread, so inside its namespace. The lock of old iptables
	// would otherwise be a file of the host's.
	lock := filepath.Join(os.TempDir(), "moyai-probe-xtables.lock")
	defer os.Remove(lock)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(rules)
	cmd.Env = append(os.Environ(), "XTABLES_LOCKFILE="+lock)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
		return open(line+" ("+err.Error()+")", "")
	}
	if err := send(); !errors.Is(err, unix.EPERM) {
		return open("a packet left all the same", "")
	}
	return held(filepath.Base(program) + " stopped a packet")
}

// send sends a datagram to this namespace's own loopback, where nobody listens.
func send() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return err
	}
	return unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}})
}
