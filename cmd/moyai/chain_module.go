package main

import (
	"context"
	"fmt"
	"strings"

	"cosmossdk.io/log/v2"
	rpchttp "github.com/cometbft/cometbft/rpc/client/http"
	dbm "github.com/cosmos/cosmos-db"
	sdkclient "github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/crypto/keyring"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/spf13/cobra"

	ledger "github.com/moyai-network/moyai/chain/app"
)

// chainModuleCommand is "query" or "tx": the verbs that autocli derives from
// every module's services. They are built when asked for, because that needs a
// ledger in memory, which no other verb should wait for.
func (a *app) chainModuleCommand(use, short string) *cobra.Command {
	return &cobra.Command{
		Use:                use + " MODULE …",
		Short:              short,
		DisableFlagParsing: true, // the derived verbs have flags of their own
		RunE: func(cmd *cobra.Command, given []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return a.runModule(ctx, append([]string{use}, given...))
		},
	}
}

func (a *app) runModule(ctx context.Context, given []string) error {
	l, err := ledger.New(log.NewNopLogger(), dbm.NewMemDB(), ledger.Options{})
	if err != nil {
		return err
	}
	defer l.Close()
	clientCtx, err := a.moduleContext(ctx, l)
	if err != nil {
		return err
	}
	root := &cobra.Command{Use: "moyai chain", SilenceErrors: true, SilenceUsage: true}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetContext(context.WithValue(ctx, sdkclient.ClientContextKey, &clientCtx))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	if err := l.AutoCLI(clientCtx).EnhanceRootCommand(root); err != nil {
		return fmt.Errorf("derive the modules' verbs: %w", err)
	}
	root.SetArgs(given)
	err = root.Execute()
	if err != nil && strings.Contains(err.Error(), "connection refused") {
		return a.noChain()
	}
	return err
}

// moduleContext is what the SDK's commands expect to find.
func (a *app) moduleContext(ctx context.Context, l *ledger.App) (sdkclient.Context, error) {
	none := sdkclient.Context{}
	rpc, err := rpchttp.New(a.node, "/websocket")
	if err != nil {
		return none, usagef("--node %q: %w", a.node, err)
	}
	keys, err := keyring.New("moyai", a.keyring, a.home, a.in, l.Encoding.Codec)
	if err != nil {
		return none, fmt.Errorf("open %s keyring in %s: %w", a.keyring, a.home, err)
	}
	clientCtx := sdkclient.Context{}.
		WithCodec(l.Encoding.Codec).WithInterfaceRegistry(l.Encoding.Registry).WithTxConfig(l.Encoding.Tx).
		WithLegacyAmino(l.Encoding.Amino).WithAccountRetriever(authtypes.AccountRetriever{}).
		WithInput(a.in).WithOutput(a.out).WithHomeDir(a.home).WithKeyringDir(a.home).WithKeyring(keys).
		WithNodeURI(a.node).WithClient(rpc).WithBroadcastMode("sync").WithCmdContext(ctx)
	// Without a chain, help still works; a query says that nobody answers.
	if status, err := rpc.Status(ctx); err == nil {
		clientCtx = clientCtx.WithChainID(status.NodeInfo.Network)
	}
	return clientCtx, nil
}
