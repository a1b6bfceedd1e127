package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/provider"
	"github.com/moyai-network/moyai/provider/doctor"
	"github.com/moyai-network/moyai/provider/machine"
	"github.com/moyai-network/moyai/provider/probe"
)

func (a *app) provideDoctorCommand() *cobra.Command {
	var worker string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "say why this machine does not earn, and how to mend it",
		Long: `Look at everything that earning needs: runtimes, what can be enforced, disk, keys,
the chain, the account, the registration and the running provider. Nothing is
changed. The exit code is 0 if this machine earns, and 1 if not.`,
		Example: `  moyai provide doctor
  moyai provide doctor --home ./p3 --json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return a.examine(ctx, worker)
		},
	}
	cmd.Flags().StringVar(&worker, "worker", "", "path of moyai-worker (default: beside moyai)")
	return cmd
}

// chainPatience is how long a chain that does not answer is waited for.
const chainPatience = 10 * time.Second

func (a *app) examine(ctx context.Context, worker string) error {
	home, err := filepath.Abs(a.home)
	if err != nil {
		return err
	}
	found := runtimes(ctx, worker)
	p := doctor.Patient{
		Home: a.home, Start: fmt.Sprintf("moyai provide --home %s", a.home), Node: a.node, Clock: time.Now,
		Machine: machine.Discover(ctx, machine.Host(), home), Runtimes: found, Walls: wallsFor(ctx, found),
		OpenFiles: probe.OpenFiles(),
	}
	p.Status, p.StatusErr = provider.Dial(home).Status(ctx)
	if p.Operator, p.OperatorErr = a.operator(home, p.Status, p.StatusErr); errors.As(p.OperatorErr, new(*usageError)) {
		return p.OperatorErr
	}
	asking, cancel := context.WithTimeout(ctx, chainPatience)
	defer cancel()
	c, err := chain.Dial(asking, a.node)
	if err != nil {
		p.LedgerErr = err
	} else {
		defer c.Close()
		p.Ledger = c
	}
	r := doctor.Examine(asking, p)
	if err := a.print(r, func(w io.Writer) error { return printReport(w, r) }); err != nil {
		return err
	}
	if !r.Earns {
		return &exitError{exitFailure}
	}
	return nil
}

// operator is the account that is paid: the running provider's, or the one that
// --key names. A keyring that is not there is not made.
func (a *app) operator(home string, st *provider.Status, stErr error) (string, error) {
	if stErr == nil {
		return st.Operator, nil
	}
	if a.keyring != chain.BackendOS {
		if _, err := os.Stat(filepath.Join(home, "keyring-"+a.keyring)); errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("%w: no keyring in %s", chain.ErrNoKey, a.home)
		}
	}
	keys, err := a.keys()
	if err != nil {
		return "", err
	}
	key, err := keys.Show(a.key)
	return key.Address, err
}

func printReport(w io.Writer, r doctor.Report) error {
	t := newMarkedTable(w, "LEVEL", "CHECK", "FOUND")
	problems := 0
	for _, c := range r.Checks {
		t.mark(levelInks[c.Level], string(c.Level), c.Name, c.Text)
		if c.Fix != "" {
			t.mark(plain, "", "", "fix: "+c.Fix)
		}
		if c.Level == doctor.Problem {
			problems++
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	verdict := "This machine earns."
	if !r.Earns {
		verdict = fmt.Sprintf("This machine does not earn: %s to mend, from the top.", plural(problems, "problem", "problems"))
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdict)
	return err
}

var levelInks = map[doctor.Level]ink{doctor.OK: green, doctor.Warning: amber, doctor.Problem: red}
