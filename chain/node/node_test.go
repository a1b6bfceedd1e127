package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	rpchttp "github.com/cometbft/cometbft/rpc/client/http"
	clienttx "github.com/cosmos/cosmos-sdk/client/tx"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
	"github.com/moyai-network/moyai/chain/app"
	"github.com/moyai-network/moyai/chain/node"
)

const chainID = "moyai-dev-1"

// until waits for something that is on its way; it asserts no timing.
func until(t *testing.T, what string, done func() (bool, error)) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		ok, err := done()
		if ok && err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func height(n *node.Node) (int64, error) {
	rpc, err := rpchttp.New(n.RPC(), "/websocket")
	if err != nil {
		return 0, err
	}
	status, err := rpc.Status(context.Background())
	if err != nil {
		return 0, err
	}
	return status.SyncInfo.LatestBlockHeight, nil
}

func waitHeight(t *testing.T, n *node.Node, want int64) {
	t.Helper()
	until(t, fmt.Sprintf("height %d", want), func() (bool, error) {
		h, err := height(n)
		return h >= want, err
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// TestOneValidator founds a chain, sends coins through it, reads it by gRPC and
// REST, stops it and finds everything again after a restart.
func TestOneValidator(t *testing.T) {
	ctx := context.Background()
	home := filepath.Join(t.TempDir(), "v0")
	key := secp256k1.GenPrivKeyFromSecret([]byte("node test"))
	from, to := sdk.AccAddress(key.PubKey().Address()), sdk.AccAddress(make([]byte, 20))
	grpcAddress, restAddress := freeAddress(t), freeAddress(t)
	spec := node.Spec{
		ChainID: chainID, Profile: node.Dev,
		Validators: []node.Validator{{Home: home, GRPC: grpcAddress, REST: restAddress}},
		Accounts:   []node.Account{{Address: from.String(), Amount: 1_000_000}},
		Genesis:    func(g *app.Genesis) { g.Market.WindowMs = 1_500 },
	}
	require.NoError(t, node.Init(spec))
	require.NoError(t, node.Init(spec), "a founded chain is left alone")

	n, err := node.Start(ctx, node.Config{Home: home})
	require.NoError(t, err)
	waitHeight(t, n, 3)

	rpc, err := rpchttp.New(n.RPC(), "/websocket")
	require.NoError(t, err)
	res, err := rpc.BroadcastTxSync(ctx, signed(t, n.App, key, banktypes.NewMsgSend(from, to, sdk.NewCoins(sdk.NewInt64Coin(app.BaseDenom, 7)))))
	require.NoError(t, err)
	require.Zero(t, res.Code, res.Log)
	conn, err := grpc.NewClient(grpcAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	arrived := func() (bool, error) {
		b, err := banktypes.NewQueryClient(conn).Balance(ctx, &banktypes.QueryBalanceRequest{Address: to.String(), Denom: app.BaseDenom})
		return err == nil && b.Balance.Amount.Int64() == 7, err
	}
	until(t, "the transfer", arrived)

	params, err := marketv1.NewQueryClient(conn).Params(ctx, &marketv1.QueryParamsRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 1_500, params.Params.WindowMs)
	until(t, "REST", func() (bool, error) { return restParams(restAddress) })

	require.NoError(t, n.Stop())
	before := n.App.LastBlockHeight()
	n, err = node.Start(ctx, node.Config{Home: home})
	require.NoError(t, err)
	defer func() { require.NoError(t, n.Stop()) }()
	waitHeight(t, n, before+2)
	until(t, "the balance after a restart", arrived)
}

func restParams(address string) (bool, error) {
	res, err := http.Get("http://" + address + "/moyai/market/v1/params")
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return false, err
	}
	var body struct {
		Params struct {
			WindowMS string `json:"window_ms"`
		}
	}
	err = json.Unmarshal(raw, &body)
	return body.Params.WindowMS == "1500", err
}

func signed(t *testing.T, ledger *app.App, key *secp256k1.PrivKey, msg sdk.Msg) []byte {
	t.Helper()
	account := ledger.Accounts.GetAccount(ledger.NewContext(true), sdk.AccAddress(key.PubKey().Address()))
	b := ledger.Encoding.Tx.NewTxBuilder()
	require.NoError(t, b.SetMsgs(msg))
	b.SetGasLimit(200_000)
	b.SetFeeAmount(sdk.NewCoins(sdk.NewInt64Coin(app.BaseDenom, 20)))
	mode := signing.SignMode_SIGN_MODE_DIRECT
	require.NoError(t, b.SetSignatures(signing.SignatureV2{PubKey: key.PubKey(), Data: &signing.SingleSignatureData{SignMode: mode}}))
	sig, err := clienttx.SignWithPrivKey(context.Background(), mode, authsigning.SignerData{
		Address: account.GetAddress().String(), ChainID: chainID, AccountNumber: account.GetAccountNumber(), PubKey: key.PubKey(),
	}, b, key, ledger.Encoding.Tx, 0)
	require.NoError(t, err)
	require.NoError(t, b.SetSignatures(sig))
	raw, err := ledger.Encoding.Tx.TxEncoder()(b.GetTx())
	require.NoError(t, err)
	return raw
}

// TestFourValidators agree in one process; a fifth home that was never founded
// does not start.
func TestFourValidators(t *testing.T) {
	dir := t.TempDir()
	spec := node.Spec{ChainID: "moyai-dev-4", Profile: node.Lan}
	for i := range 4 {
		spec.Validators = append(spec.Validators, node.Validator{Home: filepath.Join(dir, fmt.Sprint(i))})
	}
	require.NoError(t, node.Init(spec))
	require.ErrorContains(t, node.Init(node.Spec{Profile: node.Lan, Validators: append(spec.Validators, node.Validator{Home: filepath.Join(dir, "5")})}), "4 of 5 homes")
	_, err := node.Start(context.Background(), node.Config{Home: filepath.Join(dir, "nowhere")})
	require.ErrorContains(t, err, "no chain in")

	var nodes []*node.Node
	for _, v := range spec.Validators {
		n, err := node.Start(context.Background(), node.Config{Home: v.Home})
		require.NoError(t, err)
		nodes = append(nodes, n)
	}
	defer func() {
		for _, n := range nodes {
			require.NoError(t, n.Stop())
		}
	}()
	var hashes []string
	for _, n := range nodes {
		waitHeight(t, n, 4)
		rpc, err := rpchttp.New(n.RPC(), "/websocket")
		require.NoError(t, err)
		third := int64(3)
		block, err := rpc.Block(context.Background(), &third)
		require.NoError(t, err)
		hashes = append(hashes, block.BlockID.Hash.String())
	}
	for _, h := range hashes {
		require.Equal(t, hashes[0], h)
	}
	require.ErrorContains(t, node.Init(node.Spec{Profile: "huge", Validators: []node.Validator{{Home: filepath.Join(dir, "6")}}}), "unknown profile")
}
