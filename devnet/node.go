package devnet

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"cosmossdk.io/log/v2"
	"github.com/rs/zerolog"

	"github.com/moyai-network/moyai/chain/app"
	"github.com/moyai-network/moyai/chain/node"
)

// initChain writes the homes and the genesis of all validators.
func initChain(dir string, st *state, accounts []funded, tune func(*app.Genesis)) error {
	spec := node.Spec{ChainID: st.ChainID, Profile: node.Profile(st.Profile), Genesis: tune}
	for _, v := range st.Validators {
		spec.Validators = append(spec.Validators, node.Validator{
			Home: filepath.Join(dir, v.Home), Moniker: filepath.Base(v.Home),
			RPC: loopback(v.RPC), P2P: loopback(v.P2P), GRPC: loopback(v.GRPC), REST: loopback(v.REST),
		})
	}
	for _, a := range accounts {
		spec.Accounts = append(spec.Accounts, node.Account{Address: a.address, Amount: a.amount})
	}
	return node.Init(spec)
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// runValidator runs one validator inside this process until ctx ends.
func runValidator(ctx context.Context, home string, w io.Writer) error {
	return node.Run(ctx, node.Config{Home: home, Logger: log.NewLogger(w, log.ColorOption(false), log.LevelOption(zerolog.WarnLevel))})
}
