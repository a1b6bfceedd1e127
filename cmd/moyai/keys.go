package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client/chain"
)

// keyView is a key as it is printed.
type keyView struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Words   string `json:"recovery_words,omitempty"`
}

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "make, restore and list account keys, and keep this machine's",
		Args:  args(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "add [NAME]",
			Short: "make a key and show the words that restore it",
			Args:  args(cobra.MaximumNArgs(1)),
			RunE:  func(_ *cobra.Command, given []string) error { return a.addKey(a.keyName(given)) },
		},
		&cobra.Command{
			Use:   "import [NAME]",
			Short: "restore a key from its words, read from standard input",
			Args:  args(cobra.MaximumNArgs(1)),
			RunE:  func(_ *cobra.Command, given []string) error { return a.importKey(a.keyName(given)) },
		},
		&cobra.Command{
			Use:   "list",
			Short: "list the keys of this home",
			Args:  args(cobra.NoArgs),
			RunE:  func(*cobra.Command, []string) error { return a.listKeys() },
		},
		&cobra.Command{
			Use:   "show [NAME]",
			Short: "print the address of a key",
			Args:  args(cobra.MaximumNArgs(1)),
			RunE:  func(_ *cobra.Command, given []string) error { return a.showKey(a.keyName(given)) },
		},
		a.nodeKeysCommand(),
	)
	return cmd
}

func (a *app) keyName(given []string) string {
	if len(given) > 0 {
		return given[0]
	}
	return a.key
}

func (a *app) addKey(name string) error {
	keys, err := a.keys()
	if err != nil {
		return err
	}
	key, words, err := keys.Create(name)
	if err != nil {
		return err
	}
	if !a.json {
		a.say("write these words down; they are the only way to restore the key:\n\n  %s\n", words)
		words = ""
	}
	return a.printKey(key, words)
}

func (a *app) importKey(name string) error {
	keys, err := a.keys()
	if err != nil {
		return err
	}
	a.say("type the recovery words on one line:")
	line, err := bufio.NewReader(io.LimitReader(a.in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read recovery words: %w", err)
	}
	key, err := keys.Import(name, line)
	if err != nil {
		return err
	}
	return a.printKey(key, "")
}

func (a *app) showKey(name string) error {
	keys, err := a.keys()
	if err != nil {
		return err
	}
	key, err := keys.Show(name)
	if err != nil {
		return a.noKey(name, err)
	}
	return a.printKey(key, "")
}

func (a *app) noKey(name string, err error) error {
	if errors.Is(err, chain.ErrNoKey) {
		return withHint(fmt.Errorf("no key %q in %s", name, a.home), "make one with `moyai keys add %s`", name)
	}
	return err
}

func (a *app) listKeys() error {
	keys, err := a.keys()
	if err != nil {
		return err
	}
	list, err := keys.List()
	if err != nil {
		return err
	}
	views := make([]keyView, len(list))
	for i, k := range list {
		views[i] = keyView{Name: k.Name, Address: k.Address}
	}
	return a.print(views, func(w io.Writer) error {
		t := newTable(w, "NAME", "ADDRESS")
		for _, v := range views {
			t.row(v.Name, v.Address)
		}
		return t.flush()
	})
}

func (a *app) printKey(key chain.Key, words string) error {
	v := keyView{Name: key.Name, Address: key.Address, Words: words}
	return a.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, v.Address)
		return err
	})
}
