package app

import (
	"encoding/json"
	"fmt"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"
	"github.com/cosmos/cosmos-sdk/x/staking"
)

// Export writes the whole state at the last committed height as a genesis that
// a new chain can start from at the height that follows.
func (app *App) Export() (servertypes.ExportedApp, error) {
	height := app.LastBlockHeight()
	ctx := app.NewContextLegacy(true, cmtproto.Header{Height: height})
	state, err := app.manager.ExportGenesis(ctx, app.Encoding.Codec)
	if err != nil {
		return servertypes.ExportedApp{}, fmt.Errorf("export at height %d: %w", height, err)
	}
	raw, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return servertypes.ExportedApp{}, err
	}
	validators, err := staking.WriteValidators(ctx, app.Staking)
	if err != nil {
		return servertypes.ExportedApp{}, err
	}
	return servertypes.ExportedApp{
		AppState: raw, Validators: validators, Height: height + 1, ConsensusParams: app.GetConsensusParams(ctx),
	}, nil
}
