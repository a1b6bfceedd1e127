package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider"
)

// nodeKeyView is a machine's key as it is printed.
type nodeKeyView struct {
	Node string `json:"node"` // public key, hex
	Peer string `json:"peer"`
	File string `json:"file,omitempty"`
	Was  string `json:"was,omitempty"` // the key before
}

func (a *app) nodeKeysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "back up, restore and change this machine's own key",
		Long: `The machine's key signs its bids and receipts and is its name on the network. It is
made by the first "moyai provide" of a home. Who loses it starts as a new machine;
who has it can bid in its place.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "show", Short: "print the public key and the peer id", Args: args(cobra.NoArgs),
			RunE: func(*cobra.Command, []string) error { return a.showNodeKey() },
		},
		&cobra.Command{
			Use: "export FILE", Short: "write a backup, sealed under a passphrase read from standard input", Args: args(cobra.ExactArgs(1)),
			RunE: func(_ *cobra.Command, given []string) error { return a.exportNodeKey(given[0]) },
		},
		&cobra.Command{
			Use: "import FILE", Short: "restore a backup into a home that has no key", Args: args(cobra.ExactArgs(1)),
			RunE: func(_ *cobra.Command, given []string) error { return a.importNodeKey(given[0]) },
		},
		a.rotateCommand(),
	)
	return cmd
}

func (a *app) rotateCommand() *cobra.Command {
	var operator, hot string
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "give this machine a new key and revoke the old one",
		Long: `Give this machine a new key and revoke the old one on the chain, in one transaction.
The provider must be stopped, and the old key must have nothing left to sign or to
serve: let leases end, and results expire, before. The old key stays in the home,
under retired. Interrupted, it is finished by doing it again.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return a.rotateNodeKey(ctx, operator, hot)
		},
	}
	cmd.Flags().StringVar(&operator, "operator", "", "address of the operator, if its key is elsewhere")
	cmd.Flags().StringVar(&hot, "hot", "", "account key that acts for it then")
	return cmd
}

// nodeKey is the home's; it is never made here.
func (a *app) nodeKey() (p2p.Key, error) {
	key, err := p2p.LoadKey(provider.NodeKeyPath(a.home))
	if errors.Is(err, fs.ErrNotExist) {
		err = withHint(fmt.Errorf("no node key in %s", a.home), "name the provider's home with --home; its first `moyai provide` makes one")
	}
	return key, err
}

func (a *app) showNodeKey() error {
	key, err := a.nodeKey()
	if err != nil {
		return err
	}
	return a.printNodeKey(key, nodeKeyView{})
}

func (a *app) printNodeKey(key p2p.Key, v nodeKeyView) error {
	id, err := key.PeerID()
	if err != nil {
		return err
	}
	v.Node, v.Peer = hex.EncodeToString(key.Public()), id.String()
	return a.print(v, func(w io.Writer) error {
		if v.Was != "" {
			fmt.Fprintf(w, "was   %s, revoked\n", v.Was)
		}
		_, err := fmt.Fprintf(w, "node  %s\npeer  %s\n", v.Node, v.Peer)
		return err
	})
}

func (a *app) exportNodeKey(path string) error {
	key, err := a.nodeKey()
	if err != nil {
		return err
	}
	pass, err := a.passphrase("a passphrase for the backup")
	if err != nil {
		return err
	}
	backup, err := key.Backup(pass)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return withHint(fmt.Errorf("%s exists already", path), "choose another name: a backup is not written over")
	}
	if err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	_, werr := f.Write(backup)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	a.say("%s restores this machine's key, with the passphrase; keep the two apart", path)
	return a.printNodeKey(key, nodeKeyView{File: path})
}

// maxBackupFile bounds what is read of a file that is said to be a backup.
const maxBackupFile = 4096

func (a *app) importNodeKey(path string) error {
	to := provider.NodeKeyPath(a.home)
	if _, err := os.Lstat(to); err == nil {
		return withHint(fmt.Errorf("%s has a node key already, which is not written over", a.home), "restore into a home of its own with --home")
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	backup, err := io.ReadAll(io.LimitReader(f, maxBackupFile))
	_ = f.Close()
	if err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	pass, err := a.passphrase("the backup's passphrase")
	if err != nil {
		return err
	}
	key, err := p2p.KeyFromBackup(backup, pass)
	if err != nil {
		return err
	}
	if err := key.Write(to); err != nil {
		return err
	}
	a.say("restored; never let two machines run with one key")
	return a.printNodeKey(key, nodeKeyView{File: to})
}

// passphrase reads a line, unseen if a person types it.
func (a *app) passphrase(what string) ([]byte, error) {
	a.say("type %s:", what)
	if f, ok := a.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return term.ReadPassword(int(f.Fd()))
	}
	line, err := bufio.NewReader(io.LimitReader(a.in, maxBackupFile)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read passphrase: %w", err)
	}
	return []byte(strings.TrimRight(line, "\r\n")), nil
}

func (a *app) rotateNodeKey(ctx context.Context, operator, hot string) error {
	if _, err := a.nodeKey(); err != nil {
		return err
	}
	if (operator == "") != (hot == "") {
		return usagef("--operator and --hot go together: the address whose key is elsewhere, and the key that acts for it")
	}
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	keys, err := a.keys()
	if err != nil {
		return err
	}
	name := a.key
	if hot != "" {
		name = hot
	}
	acting, err := c.Sender(keys, name)
	if err != nil {
		return a.noKey(name, err)
	}
	r := provider.Rotation{Home: a.home, Chain: c, Acting: acting, Operator: acting.Account()}
	if operator != "" {
		if r.Operator, err = chain.ParseAddress(operator); err != nil {
			return &usageError{err}
		}
	}
	was, is, err := r.Rotate(ctx)
	switch {
	case errors.Is(err, provider.ErrRunning):
		return withHint(err, "stop it first, and start it again afterwards")
	case errors.Is(err, provider.ErrLeases):
		return withHint(err, "start the provider again, `moyai provide status` shows them; rotate when they are gone")
	case err != nil:
		return err
	}
	return a.printNodeKey(is, nodeKeyView{Was: hex.EncodeToString(was.Public())})
}
