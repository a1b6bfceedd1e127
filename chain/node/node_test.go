package node_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	rpchttp "github.com/cometbft/cometbft/rpc/client/http"
	"github.com/stretchr/testify/require"

	"github.com/moyai-network/moyai/chain/node"
)

func waitHeight(t *testing.T, n *node.Node, height int64) {
	t.Helper()
	rpc, err := rpchttp.New(n.RPC(), "/websocket")
	require.NoError(t, err)
	deadline := time.Now().Add(time.Minute)
	for {
		status, err := rpc.Status(context.Background())
		if err == nil && status.SyncInfo.LatestBlockHeight >= height {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("height %d was not reached: %v", height, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestOneValidatorRuns(t *testing.T) {
	home := filepath.Join(t.TempDir(), "v0")
	spec := node.Spec{ChainID: "moyai-dev-1", Profile: node.Dev, Validators: []node.Validator{{Home: home}}}
	require.NoError(t, node.Init(spec))
	start := time.Now()
	n, err := node.Start(context.Background(), node.Config{Home: home})
	require.NoError(t, err)
	waitHeight(t, n, 3)
	t.Log("height 3 after", time.Since(start))
	require.NoError(t, n.Stop())
}
