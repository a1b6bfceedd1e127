package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cosmossdk.io/log/v2"
	sdkmath "cosmossdk.io/math"
	cmtcfg "github.com/cometbft/cometbft/config"
	cmtp2p "github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	cryptocodec "github.com/cosmos/cosmos-sdk/crypto/codec"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	serverconfig "github.com/cosmos/cosmos-sdk/server/config"
	sdk "github.com/cosmos/cosmos-sdk/types"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"

	"github.com/moyai-network/moyai/chain/app"
)

// Spec is a chain to be founded.
type Spec struct {
	// ChainID names the chain: "moyai-dev-1".
	ChainID string
	// Profile is Dev or Lan.
	Profile Profile
	// Validators, each with a home of its own.
	Validators []Validator
	// Accounts that hold coins from the first block.
	Accounts []Account
	// Genesis, if not nil, changes the profile's parameters.
	Genesis func(*app.Genesis)
}

// Validator is where one validator lives and listens. Addresses are host:port.
type Validator struct {
	Home    string
	Moniker string
	RPC     string // CometBFT RPC; empty: a free loopback port
	P2P     string // consensus; empty: a free loopback port
	GRPC    string // empty: off
	REST    string // empty: off
}

// Account is a balance in genesis.
type Account struct {
	Address string // bech32
	Amount  uint64 // base units of app.BaseDenom
}

// selfBond is what each founding validator bonds: 1,000,000 MOY.
const selfBond = 1_000_000_000_000

// Init founds a chain: it writes each validator's keys and configuration, and
// one genesis for all. If every home is founded already it changes nothing and
// returns nil; if only some are, it refuses.
func Init(spec Spec) error {
	founded := 0
	for _, v := range spec.Validators {
		if _, err := os.Stat(filepath.Join(v.Home, "config", "genesis.json")); err == nil {
			founded++
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	switch {
	case len(spec.Validators) == 0:
		return errors.New("a chain needs a validator")
	case founded == len(spec.Validators):
		return nil
	case founded > 0:
		return fmt.Errorf("%d of %d homes hold a chain already: remove them, or run them as they are", founded, len(spec.Validators))
	}
	profile, err := spec.Profile.settings()
	if err != nil {
		return err
	}
	homes := make([]*home, len(spec.Validators))
	for i, v := range spec.Validators {
		if homes[i], err = newHome(v, profile); err != nil {
			return fmt.Errorf("home %s: %w", v.Home, err)
		}
	}
	genesis, err := spec.genesis(profile, homes)
	if err != nil {
		return err
	}
	for _, h := range homes {
		if err := h.write(peersOf(h, homes), genesis); err != nil {
			return fmt.Errorf("home %s: %w", h.comet.RootDir, err)
		}
	}
	return nil
}

// home is a validator's home while it is being made.
type home struct {
	moniker   string
	comet     *cmtcfg.Config
	services  *serverconfig.Config
	nodeID    cmtp2p.ID
	consensus *privval.FilePV
	operator  *secp256k1.PrivKey
}

func newHome(v Validator, profile settings) (*home, error) {
	for _, dir := range []string{"config", "data"} {
		if err := os.MkdirAll(filepath.Join(v.Home, dir), 0o700); err != nil {
			return nil, err
		}
	}
	h := &home{moniker: v.Moniker, comet: profile.comet(), services: serverconfig.DefaultConfig(), operator: secp256k1.GenPrivKey()}
	if h.moniker == "" {
		h.moniker = filepath.Base(v.Home)
	}
	h.comet.SetRoot(v.Home)
	h.comet.Moniker = h.moniker
	var err error
	if h.comet.RPC.ListenAddress, err = listenOn(v.RPC); err != nil {
		return nil, err
	}
	if h.comet.P2P.ListenAddress, err = listenOn(v.P2P); err != nil {
		return nil, err
	}
	h.services.MinGasPrices = "0" + app.BaseDenom // the governed floor rules
	h.services.GRPC.Enable, h.services.GRPC.Address = v.GRPC != "", v.GRPC
	h.services.API.Enable, h.services.API.Address = v.REST != "", "tcp://"+v.REST

	key, err := cmtp2p.LoadOrGenNodeKey(h.comet.NodeKeyFile())
	if err != nil {
		return nil, err
	}
	h.nodeID = key.ID()
	h.consensus = privval.LoadOrGenFilePV(h.comet.PrivValidatorKeyFile(), h.comet.PrivValidatorStateFile())
	return h, writeOperator(filepath.Join(v.Home, "config", "operator_key.json"), h.operator)
}

// genesis builds the one genesis of all homes.
func (spec Spec) genesis(profile settings, homes []*home) (*genutiltypes.AppGenesis, error) {
	g := app.DefaultGenesisParams(spec.ChainID)
	profile.tune(&g)
	for _, a := range spec.Accounts {
		address, err := sdk.AccAddressFromBech32(a.Address)
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", a.Address, err)
		}
		g.Accounts = append(g.Accounts, app.GenesisAccount{
			Address: address, Coins: sdk.NewCoins(sdk.NewCoin(app.BaseDenom, sdkmath.NewIntFromUint64(a.Amount))),
		})
	}
	for _, h := range homes {
		consensus, err := cryptocodec.FromCmtPubKeyInterface(h.consensus.Key.PubKey)
		if err != nil {
			return nil, err
		}
		g.Validators = append(g.Validators, app.GenesisValidator{
			Moniker: h.moniker, Operator: h.operator, Consensus: consensus, SelfBond: sdkmath.NewInt(selfBond),
		})
	}
	if spec.Genesis != nil {
		spec.Genesis(&g)
	}
	ledger, err := app.New(log.NewNopLogger(), dbm.NewMemDB(), app.Options{})
	if err != nil {
		return nil, err
	}
	state, err := ledger.GenesisState(g)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	raw, err := json.Marshal(state)
	if err != nil {
		return nil, err
	}
	return &genutiltypes.AppGenesis{
		AppName: app.Name, GenesisTime: time.Now().UTC(), ChainID: g.ChainID, InitialHeight: 1, AppState: raw,
		Consensus: &genutiltypes.ConsensusGenesis{Params: ConsensusParams()},
	}, nil
}

// ConsensusParams bound a block: 4 MiB and 500 M gas, which is about one second
// of work on two cores.
func ConsensusParams() *cmttypes.ConsensusParams {
	p := cmttypes.DefaultConsensusParams()
	p.Block.MaxBytes = 4 << 20
	p.Block.MaxGas = 500_000_000
	p.Evidence.MaxBytes = 1 << 16
	return p
}

func (h *home) write(peers string, genesis *genutiltypes.AppGenesis) error {
	h.comet.P2P.PersistentPeers = peers
	cmtcfg.WriteConfigFile(filepath.Join(h.comet.RootDir, "config", "config.toml"), h.comet)
	serverconfig.WriteConfigFile(filepath.Join(h.comet.RootDir, "config", "app.toml"), h.services)
	// Last: a home with a genesis counts as founded.
	return genesis.SaveAs(h.comet.GenesisFile())
}

func peersOf(h *home, all []*home) string {
	var peers []string
	for _, o := range all {
		if o != h {
			peers = append(peers, cmtp2p.IDAddressString(o.nodeID, strings.TrimPrefix(o.comet.P2P.ListenAddress, "tcp://")))
		}
	}
	return strings.Join(peers, ",")
}

// operatorKey is the file of the account that a founding validator bonded from.
type operatorKey struct {
	Address    string `json:"address"`
	PrivateKey []byte `json:"private_key"` // secp256k1; the file is 0600
}

func writeOperator(path string, key *secp256k1.PrivKey) error {
	//nolint:gosec // writing the key to its own file is the purpose
	raw, err := json.MarshalIndent(operatorKey{Address: sdk.AccAddress(key.PubKey().Address()).String(), PrivateKey: key.Key}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o600)
}
