// Package node makes and runs the ledger's nodes in this process: Init writes
// the homes and the genesis of a new chain, Start runs one home over CometBFT.
// Several nodes run in one process, each with its own home and ports; a home
// survives restarts. It is not a command line and supervises no other process.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"cosmossdk.io/log/v2"
	cmtcfg "github.com/cometbft/cometbft/config"
	cmtnode "github.com/cometbft/cometbft/node"
	cmtp2p "github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/rpc/client/local"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/server"
	"github.com/cosmos/cosmos-sdk/server/api"
	serverconfig "github.com/cosmos/cosmos-sdk/server/config"
	servergrpc "github.com/cosmos/cosmos-sdk/server/grpc"
	serverlog "github.com/cosmos/cosmos-sdk/server/log"
	"github.com/cosmos/cosmos-sdk/store/v2/pruning/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/moyai-network/moyai/chain/app"
)

// Config says which home to run.
type Config struct {
	// Home is a directory that Init made.
	Home string
	// Logger receives the node's log; nil discards it.
	Logger log.Logger
}

// Node is a running node.
type Node struct {
	App *app.App

	rpc    string
	comet  *cmtnode.Node
	cancel context.CancelFunc
	serve  *errgroup.Group
	done   chan struct{}
}

// gcPercent lets the heap of a process that is a node, and nothing else, grow
// to four times what is live before it is collected: blocks are made of short
// lived objects, and the live heap is small.
const gcPercent = 300

// Run runs a node as this process's work until ctx ends or the node fails, and
// stops it cleanly.
func Run(ctx context.Context, cfg Config) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	n, err := Start(ctx, cfg)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return n.Stop()
	case <-n.Done():
		return errors.Join(errors.New("node stopped by itself: see its log"), n.Stop())
	}
}

// Start runs a node and returns once it accepts RPC calls; it may not have
// made a block yet. ctx bounds the start only: end the node with Stop.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	logger := cfg.Logger
	if logger == nil {
		logger = log.NewNopLogger()
	}
	comet, services, err := readConfig(cfg.Home)
	if err != nil {
		return nil, err
	}
	genesis, err := genutiltypes.AppGenesisFromFile(comet.GenesisFile())
	if err != nil {
		return nil, fmt.Errorf("genesis of %s: %w", cfg.Home, err)
	}
	db, err := dbm.NewDB("application", dbm.GoLevelDBBackend, filepath.Join(cfg.Home, "data"))
	if err != nil {
		return nil, fmt.Errorf("database in %s: %w (is another node using this home?)", cfg.Home, err)
	}
	ledger, err := app.New(logger, db, app.Options{Home: cfg.Home, BaseApp: []func(*baseapp.BaseApp){
		baseapp.SetChainID(genesis.ChainID),
		baseapp.SetPruning(types.NewCustomPruningOptions(1_000, 100)),
		baseapp.SetIAVLCacheSize(500_000),
		baseapp.SetIAVLDisableFastNode(false),
	}})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("application in %s: %w", cfg.Home, err), db.Close())
	}
	n := &Node{App: ledger, rpc: httpURL(comet.RPC.ListenAddress), done: make(chan struct{})}
	if err := n.startComet(ctx, comet, genesis, logger); err != nil {
		return nil, errors.Join(err, ledger.Close())
	}
	if err := n.startServices(services, genesis.ChainID, logger); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

// RPC is the address of the node's CometBFT RPC, as a URL.
func (n *Node) RPC() string { return n.rpc }

// Done is closed when consensus has stopped, asked to or not.
func (n *Node) Done() <-chan struct{} { return n.done }

// Stop ends the node and closes its databases. The home can be started again.
func (n *Node) Stop() error {
	var errs []error
	if n.cancel != nil {
		n.cancel()
		if err := n.serve.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, err)
		}
	}
	if n.comet != nil && n.comet.IsRunning() {
		errs = append(errs, n.comet.Stop())
		n.comet.Wait()
	}
	return errors.Join(append(errs, n.App.Close())...)
}

func (n *Node) startComet(ctx context.Context, cfg *cmtcfg.Config, genesis *genutiltypes.AppGenesis, logger log.Logger) error {
	key, err := cmtp2p.LoadNodeKey(cfg.NodeKeyFile())
	if err != nil {
		return fmt.Errorf("node key: %w", err)
	}
	// The application is safe for concurrent use: CheckTx and queries need not
	// wait for the block that is being executed.
	creator := proxy.NewConnSyncLocalClientCreator(server.NewCometABCIWrapper(n.App))
	n.comet, err = cmtnode.NewNodeWithContext(ctx, cfg,
		privval.LoadFilePV(cfg.PrivValidatorKeyFile(), cfg.PrivValidatorStateFile()), key, creator,
		func() (*cmttypes.GenesisDoc, error) { return genesis.ToGenesisDoc() },
		cmtcfg.DefaultDBProvider, cmtnode.DefaultMetricsProvider(cfg.Instrumentation),
		serverlog.CometLoggerWrapper{Logger: logger.With("module", "comet")})
	if err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	if err := n.comet.Start(); err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	go func() {
		n.comet.Wait()
		close(n.done)
	}()
	return nil
}

// startServices serves gRPC and REST, if the home's app.toml says so.
func (n *Node) startServices(cfg serverconfig.Config, chainID string, logger log.Logger) error {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.serve, ctx = errgroup.WithContext(ctx)
	if !cfg.GRPC.Enable && !cfg.API.Enable {
		return nil
	}
	clientCtx := client.Context{}.
		WithCodec(n.App.Encoding.Codec).WithInterfaceRegistry(n.App.Encoding.Registry).WithTxConfig(n.App.Encoding.Tx).
		WithLegacyAmino(n.App.Encoding.Amino).WithAccountRetriever(authtypes.AccountRetriever{}).
		WithChainID(chainID).WithClient(local.New(n.comet))
	n.App.RegisterTxService(clientCtx)
	n.App.RegisterTendermintService(clientCtx)
	n.App.RegisterNodeService(clientCtx, cfg)

	var srv *grpc.Server
	if cfg.GRPC.Enable {
		var err error
		if srv, clientCtx, err = servergrpc.NewGRPCServerAndContext(clientCtx, n.App, cfg.GRPC, logger); err != nil {
			return fmt.Errorf("gRPC on %s: %w", cfg.GRPC.Address, err)
		}
		n.serve.Go(func() error { return servergrpc.StartGRPCServer(ctx, logger, cfg.GRPC, srv) })
	}
	if cfg.API.Enable {
		rest := api.New(clientCtx, logger, srv)
		n.App.RegisterAPIRoutes(rest, cfg.API)
		n.serve.Go(func() error { return rest.Start(ctx, cfg) })
	}
	return nil
}

func httpURL(listen string) string { return "http://" + strings.TrimPrefix(listen, "tcp://") }
