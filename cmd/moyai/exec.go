package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client"
)

// execFlags say how a program is run beside another.
type execFlags struct {
	input bool
	tty   bool
	plain bool
	env   []string
	dir   string
	user  string
}

func (f *execFlags) flags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SetInterspersed(false) // what follows the lease is the program's
	fs.StringArrayVarP(&f.env, "env", "e", nil, "KEY=VALUE for the program (repeatable)")
	fs.StringVarP(&f.dir, "workdir", "w", "", "folder inside in which it starts")
	fs.StringVarP(&f.user, "user", "u", "", "user of the image, by name or number")
}

func (a *app) execCommand() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec [flags] LEASE [--] PROGRAM [ARG…]",
		Short: "run a program beside the one that runs on a lease",
		Long: `Run a further program of the image beside the one that runs on a lease, within the
same walls and limits. Its exit code becomes yours. On a terminal it gets a
terminal; in a pipe, -i passes standard input on.

LEASE is the id of a lease or a job, or the beginning of one; LEASE/INDEX is one
task of an array job.`,
		Example: `  moyai exec 4f2c nvidia-smi
  moyai exec -it 4f2c -- python
  tar c data | moyai exec -i 4f2c -- tar x -C /tmp`,
		Args: args(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if given[1] == "--" {
				given = append(given[:1:1], given[2:]...)
			}
			if len(given) < 2 {
				return usagef("no program named; the form is: %s", cmd.UseLine())
			}
			if err := checkRunning(given[0]); err != nil {
				return err
			}
			return a.enter(cmd.Context(), given[0], f, given[1:])
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVarP(&f.input, "interactive", "i", false, "pass standard input on")
	cmd.Flags().BoolVarP(&f.tty, "tty", "t", false, "give it a terminal")
	cmd.Flags().BoolVarP(&f.plain, "no-tty", "T", false, "give it no terminal, even on one")
	return cmd
}

func (a *app) shellCommand() *cobra.Command {
	f := execFlags{input: true}
	cmd := &cobra.Command{
		Use:   "shell [flags] LEASE",
		Short: "a shell beside the program that runs on a lease",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := checkRunning(given[0]); err != nil {
				return err
			}
			return a.enter(cmd.Context(), given[0], f, []string{"bash"}, []string{"sh"})
		},
	}
	f.flags(cmd)
	return cmd
}

// enter runs the first of several programs that is there.
func (a *app) enter(ctx context.Context, lease string, f execFlags, tries ...[]string) error {
	if _, err := parseEnv(f.env); err != nil {
		return err
	}
	keyboard, onTerminal := keyboardOf(a.in)
	e := client.Exec{Env: f.env, Dir: f.dir, User: f.user, Stdout: a.out, Stderr: a.err}
	e.TTY = (f.tty || onTerminal && terminal(a.out)) && !f.plain
	if f.tty && f.input && !onTerminal {
		return usagef("-t needs a terminal on standard input: leave it out in a pipe")
	}
	if f.input || e.TTY && onTerminal {
		e.Stdin = a.in
	}
	c, err := a.visitor(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if e.TTY && onTerminal {
		back, err := keyboard.take(&e)
		if err != nil {
			return err
		}
		defer back()
	} else {
		defer passSignals(&e)()
	}
	for i, program := range tries {
		e.Args = program
		code, err := c.Exec(ctx, lease, e)
		if errors.Is(err, client.ErrNoProgram) && i < len(tries)-1 {
			continue
		}
		if err != nil {
			return a.explain(err)
		}
		if code != 0 {
			return &exitError{code}
		}
		return nil
	}
	return nil
}

// passSignals lets Ctrl-C interrupt the program there, not us; the third time it is
// us.
func passSignals(e *client.Exec) (stop func()) {
	const patience = 2
	seen := make(chan os.Signal, 4)
	names := make(chan string, patience)
	e.Signals = names
	signal.Notify(seen, os.Interrupt, syscall.SIGQUIT)
	go func() {
		for n := 0; n < patience; n++ {
			s, ok := <-seen
			if !ok {
				return
			}
			names <- map[os.Signal]string{os.Interrupt: "INT", syscall.SIGQUIT: "QUIT"}[s]
		}
		signal.Stop(seen)
	}()
	return func() { signal.Stop(seen) }
}
