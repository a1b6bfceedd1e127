package app

import (
	"encoding/json"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
)

// ImportExport loads a genesis and exports it before any block can change it.
func (app *App) ImportExport(state map[string]json.RawMessage, height int64, now time.Time, chainID string) (json.RawMessage, error) {
	ctx := app.NewContextLegacy(true, cmtproto.Header{Height: height - 1, Time: now, ChainID: chainID})
	if _, err := app.manager.InitGenesis(ctx, app.Encoding.Codec, state); err != nil {
		return nil, err
	}
	out, err := app.manager.ExportGenesis(ctx, app.Encoding.Codec)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}
