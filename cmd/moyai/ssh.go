package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/p2p/enter"
)

// sshFlags are those of `moyai ssh`.
type sshFlags struct {
	identity string
	user     string
	forwards []string
	noCmd    bool
	tty      bool
	stdio    bool
	config   bool
	install  bool
}

func (a *app) sshCommand() *cobra.Command {
	var f sshFlags
	cmd := &cobra.Command{
		Use:   "ssh [flags] LEASE [--] [COMMAND…]",
		Short: "an ssh session into what runs on a lease; scp, rsync and editors too",
		Long: `Log in to what runs on a lease with the ssh of this machine. The key is made once per
home (` + "`~/.moyai/ssh`" + `), or is yours with --identity; the server's key comes over the
lease's own authenticated connection, so nothing has to be trusted at first sight.

For scp, rsync and the remote modes of editors, --install adds the lease to your ssh
configuration under the name it prints; --config only shows what that would add.`,
		Example: `  moyai ssh 4f2c
  moyai ssh 4f2c -- nvidia-smi -l
  moyai ssh -L 8888:localhost:8888 4f2c
  rsync -a -e "moyai ssh" ./data 4f2c:/work/
  moyai ssh --install 4f2c      # then: scp, sftp, rsync, code --remote ssh-remote+moyai-4f2c…`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if len(given) > 1 && given[1] == "--" {
				given = append(given[:1:1], given[2:]...)
			}
			if err := checkRunning(given[0]); err != nil {
				return err
			}
			if (f.stdio || f.config || f.install) && len(given) > 1 {
				return usagef("--stdio, --config and --install take a lease only")
			}
			return a.ssh(cmd.Context(), f, given[0], given[1:])
		},
	}
	fs := cmd.Flags()
	fs.SetInterspersed(false) // what follows the lease is the command's
	fs.StringVarP(&f.identity, "identity", "i", "", "private key to log in with (default: one of this home's own)")
	fs.StringVarP(&f.user, "login", "l", "", "user of the image (default: whom the program runs as)")
	fs.StringArrayVarP(&f.forwards, "forward", "L", nil, "LOCAL:HOST:REMOTE, as ssh has it (repeatable)")
	fs.BoolVarP(&f.noCmd, "no-command", "N", false, "run nothing: forward ports only")
	fs.BoolVarP(&f.tty, "tty", "t", false, "a terminal for the command, too")
	fs.BoolVar(&f.stdio, "stdio", false, "speak ssh on standard input and output: what ssh's ProxyCommand runs")
	fs.BoolVar(&f.config, "config", false, "print a block for ~/.ssh/config")
	fs.BoolVar(&f.install, "install", false, "add that block to your ssh configuration")
	return cmd
}

func (a *app) ssh(ctx context.Context, f sshFlags, lease string, command []string) error {
	key, err := a.sshKey(f.identity)
	if err != nil {
		return err
	}
	if f.stdio {
		return a.sshStdio(ctx, key, lease)
	}
	c, err := a.visitor(ctx)
	if err != nil {
		return err
	}
	id, err := c.ResolveLease(ctx, lease)
	_ = c.Close()
	if err != nil {
		return a.explain(err)
	}
	s, err := a.sshSettings(key, id, lease, f)
	if err != nil {
		return err
	}
	switch {
	case f.config:
		return a.print(s, func(w io.Writer) error { _, err := io.WriteString(w, s.block()); return err })
	case f.install:
		return a.installSSH(s)
	}
	return a.runSSH(ctx, s, f, command)
}

// sshStdio is what ssh talks to instead of a network: the server's key is written
// where that ssh looks for it before the first byte reaches it.
func (a *app) sshStdio(ctx context.Context, key sshKey, lease string) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	c, err := a.visitor(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	conn, err := c.DialSSH(ctx, lease, key.public)
	if err != nil {
		return a.explain(err)
	}
	if err := a.rememberHost(conn.Lease, conn.HostKey); err != nil {
		_ = conn.Close()
		return err
	}
	enter.Splice(ctx, stdio{a.in, a.out}, conn)
	return nil
}

// stdio is this process's own input and output as a connection.
type stdio struct {
	io.Reader
	io.Writer
}

// CloseWrite says that the other end will send nothing more.
func (s stdio) CloseWrite() error { return closeFile(s.Writer) }

// Close ends both. A read under way cannot be ended: the process does.
func (s stdio) Close() error { return errors.Join(closeFile(s.Reader), closeFile(s.Writer)) }

func closeFile(v any) error {
	if f, ok := v.(*os.File); ok {
		return f.Close()
	}
	return nil
}

// runSSH runs this machine's ssh and passes on its exit code.
func (a *app) runSSH(ctx context.Context, s sshSettings, f sshFlags, command []string) error {
	program, err := exec.LookPath("ssh")
	if err != nil {
		return withHint(errors.New("this machine has no ssh"),
			"install one (Debian and Ubuntu: apt-get install openssh-client), or use `moyai shell %s`", short(s.Lease))
	}
	args := s.options()
	for _, l := range f.forwards {
		args = append(args, "-L", l)
	}
	if f.noCmd {
		args = append(args, "-N")
	}
	if f.tty {
		args = append(args, "-t")
	}
	cmd := exec.CommandContext(ctx, program, append(append(args, s.Host), command...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, a.out, a.err
	// Ctrl-C reaches ssh by itself, and what to do about it is up to ssh.
	ours := make(chan os.Signal, 1)
	signal.Notify(ours, os.Interrupt)
	defer signal.Stop(ours)
	err = cmd.Run()
	exit := new(exec.ExitError)
	if errors.As(err, &exit) {
		return &exitError{max(exit.ExitCode(), exitFailure)}
	}
	return err
}
