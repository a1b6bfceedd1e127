package node

import (
	"fmt"
	"net"
	"path/filepath"
	"time"

	cmtcfg "github.com/cometbft/cometbft/config"
	serverconfig "github.com/cosmos/cosmos-sdk/server/config"
	"github.com/spf13/viper"

	"github.com/moyai-network/moyai/chain/app"
)

// Profile is a kind of network.
type Profile string

// The profiles. A network between strangers is founded by governance, not by
// a profile: it needs its own choices.
const (
	// Dev is one validator on one machine: a block about every 50 ms, and
	// unbonding and windows short enough to watch.
	Dev Profile = "dev"
	// Lan is a few validators near each other: a block about every 200 ms.
	Lan Profile = "lan"
)

// settings are what a profile means.
type settings struct {
	commit, propose, vote time.Duration
	unbonding, voting     time.Duration
	windowMS, pruneMS     uint64
}

func (p Profile) settings() (settings, error) {
	switch p {
	case Dev:
		return settings{
			commit: 50 * time.Millisecond, propose: time.Second, vote: 200 * time.Millisecond,
			unbonding: time.Minute, voting: time.Minute, windowMS: 10_000, pruneMS: 24 * 3_600_000,
		}, nil
	case Lan:
		return settings{
			commit: 200 * time.Millisecond, propose: time.Second, vote: 300 * time.Millisecond,
			unbonding: time.Hour, voting: 10 * time.Minute, windowMS: 60_000, pruneMS: 7 * 24 * 3_600_000,
		}, nil
	}
	return settings{}, fmt.Errorf("unknown profile %q: it is %q or %q", string(p), Dev, Lan)
}

// tune shortens a founder's times to the profile's.
func (s settings) tune(g *app.Genesis) {
	g.Unbonding, g.Voting = s.unbonding, s.voting
	g.Registry.UnbondingMs = uint64(s.unbonding.Milliseconds())
	g.Market.WindowMs, g.Market.PruneAfterMs = s.windowMS, s.pruneMS
}

func (s settings) comet() *cmtcfg.Config {
	cfg := cmtcfg.DefaultConfig()
	c := cfg.Consensus
	c.TimeoutCommit, c.TimeoutPropose = s.commit, s.propose
	c.TimeoutPrevote, c.TimeoutPrecommit = s.vote, s.vote
	c.TimeoutProposeDelta, c.TimeoutPrevoteDelta, c.TimeoutPrecommitDelta = s.vote, s.vote, s.vote
	c.PeerGossipSleepDuration = 5 * time.Millisecond
	c.PeerQueryMaj23SleepDuration = 500 * time.Millisecond
	// Several nodes share a machine, and leave and return together.
	cfg.P2P.AddrBookStrict = false
	cfg.P2P.AllowDuplicateIP = true
	// They know each other by name, so there is nothing to gossip; the address book
	// is also still being written after the node has stopped.
	cfg.P2P.PexReactor = false
	cfg.P2P.FlushThrottleTimeout = 5 * time.Millisecond
	// A batch of leases is large for a transaction.
	cfg.Mempool.MaxTxBytes = 2 << 20
	cfg.RPC.MaxBodyBytes = 4 << 20
	cfg.RPC.MaxSubscriptionsPerClient = 16
	// Validators index nothing: history is the indexer role's.
	cfg.TxIndex.Indexer = "null"
	return cfg
}

// readConfig reads what Init wrote and an operator may have edited.
func readConfig(home string) (*cmtcfg.Config, serverconfig.Config, error) {
	comet := cmtcfg.DefaultConfig()
	v := viper.New()
	v.SetConfigFile(filepath.Join(home, "config", "config.toml"))
	if err := v.ReadInConfig(); err != nil {
		return nil, serverconfig.Config{}, fmt.Errorf("no chain in %s: %w", home, err)
	}
	if err := v.Unmarshal(comet); err != nil {
		return nil, serverconfig.Config{}, fmt.Errorf("config.toml in %s: %w", home, err)
	}
	comet.SetRoot(home)
	if err := comet.ValidateBasic(); err != nil {
		return nil, serverconfig.Config{}, fmt.Errorf("config.toml in %s: %w", home, err)
	}
	a := viper.New()
	a.SetConfigFile(filepath.Join(home, "config", "app.toml"))
	if err := a.ReadInConfig(); err != nil {
		return nil, serverconfig.Config{}, err
	}
	services, err := serverconfig.GetConfig(a)
	if err != nil {
		return nil, services, fmt.Errorf("app.toml in %s: %w", home, err)
	}
	return comet, services, nil
}

// listenOn is a CometBFT listen address for host:port, or a free loopback port.
func listenOn(address string) (string, error) {
	if address != "" {
		return "tcp://" + address, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return "tcp://" + l.Addr().String(), nil
}
