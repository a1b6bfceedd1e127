package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/moyai-network/moyai/client/chain"
)

// app is what every verb shares: streams, global flags and how to speak to
// people. It holds no state of a role.
type app struct {
	in       io.Reader
	out, err io.Writer

	json    bool
	home    string
	node    string
	key     string
	keyring string

	bootstrap []string
}

func newApp(in io.Reader, out, errOut io.Writer) *app {
	return &app{in: in, out: out, err: errOut}
}

// run executes one command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	return a.report(root.ExecuteContext(ctx))
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "moyai",
		Short: "rent and lend machines on a network that nobody owns",
		Long: `moyai rents and lends machines on a network that nobody owns.

Try a whole network on this machine:   moyai demo
Keep one running to play with:         moyai devnet --dir ./net
Run a program on somebody's machine:   moyai run prog.wasm -- args
Earn with this machine:                moyai provide`,
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
		// An unknown verb is a usage error, not a failure.
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q%s", args[0], suggest(cmd, args[0]))
			}
			return cmd.Help()
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print JSON instead of text")
	f.StringVar(&a.home, "home", envOr("MOYAI_HOME", defaultHome()), "folder with keys and jobs [MOYAI_HOME]")
	f.StringVar(&a.node, "node", envOr("MOYAI_NODE", "http://127.0.0.1:26657"), "RPC address of a chain node [MOYAI_NODE]")
	f.StringVar(&a.key, "key", envOr("MOYAI_KEY", "default"), "name of the account key [MOYAI_KEY]")
	f.StringVar(&a.keyring, "keyring-backend", envOr("MOYAI_KEYRING_BACKEND", chain.BackendFile), "where keys are kept: file (encrypted), os or test (plain) [MOYAI_KEYRING_BACKEND]")

	f.StringSliceVar(&a.bootstrap, "bootstrap", envList("MOYAI_BOOTSTRAP"), "address of a peer to ask where others are, as a relay prints its own (repeatable) [MOYAI_BOOTSTRAP]")

	root.AddGroup(
		&cobra.Group{ID: "tenant", Title: "Rent:"},
		&cobra.Group{ID: "provider", Title: "Lend:"},
		&cobra.Group{ID: "network", Title: "Networks:"},
		&cobra.Group{ID: "other", Title: "Other:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	a.addVerbs(add)
	root.SetHelpCommandGroupID("other")
	root.SetCompletionCommandGroupID("other")
	return root
}

// interruptible makes Ctrl-C end the verb in an orderly way; a second Ctrl-C
// ends it at once.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // the next signal has its default effect
	}()
	return ctx, stop
}

// dial connects to the chain.
func (a *app) dial(ctx context.Context) (*chain.Client, error) {
	c, err := chain.Dial(ctx, a.node)
	if errors.Is(err, chain.ErrUnreachable) {
		return nil, a.noChain()
	}
	return c, err
}

// keys opens the keyring.
func (a *app) keys() (*chain.Keys, error) {
	switch a.keyring {
	case chain.BackendFile, chain.BackendOS, chain.BackendTest:
	default:
		return nil, usagef("keyring backend %q: use %s, %s or %s", a.keyring, chain.BackendFile, chain.BackendOS, chain.BackendTest)
	}
	return chain.OpenKeys(a.home, a.keyring, a.in)
}

// sender unlocks the account that --key names.
func (a *app) sender(c *chain.Client) (*chain.Sender, error) {
	keys, err := a.keys()
	if err != nil {
		return nil, err
	}
	s, err := c.Sender(keys, a.key)
	if err != nil {
		return nil, a.noKey(a.key, err)
	}
	return s, nil
}

// print writes v as JSON if asked for, else calls text.
func (a *app) print(v any, text func(w io.Writer) error) error {
	if !a.json {
		return text(a.out)
	}
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// say writes progress and advice for people, which is never part of the output.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.err, format+"\n", args...)
}

// terminal reports whether w is a terminal: only there do bars and colours make
// sense.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

// envList is a list of words, separated by commas or spaces.
func envList(name string) []string {
	return strings.FieldsFunc(os.Getenv(name), func(r rune) bool { return r == ',' || r == ' ' })
}

func defaultHome() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ".moyai"
	}
	return filepath.Join(home, ".moyai")
}

func suggest(cmd *cobra.Command, typed string) string {
	if s := cmd.SuggestionsFor(typed); len(s) > 0 {
		return "; did you mean " + strings.Join(s, " or ") + "?"
	}
	return "; see moyai --help"
}
