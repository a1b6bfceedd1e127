package app_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"cosmossdk.io/log/v2"
	sdkmath "cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/baseapp"
	clienttx "github.com/cosmos/cosmos-sdk/client/tx"
	"github.com/cosmos/cosmos-sdk/crypto/keys/ed25519"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	"github.com/cosmos/gogoproto/proto"
	"github.com/stretchr/testify/require"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/chain/app"
	"github.com/moyai-network/moyai/chain/node"
	"github.com/moyai-network/moyai/wire"
)

const (
	testChain = "moyai-test-1"
	endowment = 1_000_000_000 // umoy of each account in genesis
)

// account is somebody with a key.
type account struct {
	key     *secp256k1.PrivKey
	address sdk.AccAddress
}

func (a account) String() string { return a.address.String() }

// accountOf makes the same account of the same name every time.
func accountOf(name string) account {
	seed := sha256.Sum256([]byte("moyai chain test: " + name))
	key := secp256k1.GenPrivKeyFromSecret(seed[:])
	return account{key, sdk.AccAddress(key.PubKey().Address())}
}

// consent signs with the account's key, off the chain.
func (a account) consent() wire.Signer {
	s, err := wire.NewSecp256k1Signer(a.key.Key)
	if err != nil {
		panic(err)
	}
	return s
}

func signerOf(name string) *wire.Ed25519Signer {
	seed := sha256.Sum256([]byte("moyai chain test: " + name))
	s, err := wire.NewEd25519Signer(seed[:])
	if err != nil {
		panic(err)
	}
	return s
}

// ledger is the application without consensus: the test makes the blocks.
type ledger struct {
	t        testing.TB
	app      *app.App
	now      time.Time
	genesis  []byte
	proposer []byte
	initial  int64 // height of the first block
	// gas of every transaction; fees are zero unless a test sets a floor.
	gas uint64
	fee sdk.Coins
}

// newLedger starts a chain where the named accounts are rich. Fees are free, no
// bond is filled and the window is 60 s, as in the worked example, unless tune
// says otherwise.
func newLedger(t testing.TB, names []string, tune func(*app.Genesis)) *ledger {
	t.Helper()
	g := app.DefaultGenesisParams(testChain)
	g.Registry.MinGasPrice = 0
	g.Registry.BondFloor = "0"
	g.Registry.UnbondingMs = 120_000
	g.Market.WindowMs = 60_000
	for _, name := range names {
		g.Accounts = append(g.Accounts, app.GenesisAccount{
			Address: accountOf(name).address, Coins: sdk.NewCoins(sdk.NewInt64Coin(app.BaseDenom, endowment)),
		})
	}
	consensus := ed25519.GenPrivKeyFromSecret([]byte("moyai chain test validator"))
	g.Validators = []app.GenesisValidator{{
		Moniker: "v0", Operator: accountOf("validator").key, Consensus: consensus.PubKey(), SelfBond: sdkmath.NewInt(1_000_000_000_000),
	}}
	if tune != nil {
		tune(&g)
	}
	l := &ledger{
		t: t, now: time.UnixMilli(1_800_000_000_000).UTC(), proposer: consensus.PubKey().Address(), gas: 100_000_000,
	}
	l.app = openApp(t, dbm.NewMemDB())
	state, err := l.app.GenesisState(g)
	require.NoError(t, err)
	l.genesis, err = json.Marshal(state)
	require.NoError(t, err)
	l.initChain(1)
	l.block(0)
	return l
}

func openApp(t testing.TB, db dbm.DB) *app.App {
	t.Helper()
	a, err := app.New(log.NewNopLogger(), db, app.Options{BaseApp: []func(*baseapp.BaseApp){baseapp.SetChainID(testChain)}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func (l *ledger) initChain(height int64) {
	l.t.Helper()
	l.initial = height
	params := node.ConsensusParams().ToProto()
	_, err := l.app.InitChain(&abci.RequestInitChain{
		ChainId: testChain, Time: l.now, InitialHeight: height, ConsensusParams: &params, AppStateBytes: l.genesis,
	})
	require.NoError(l.t, err)
}

// block makes one block after the given time and returns what became of its
// transactions.
func (l *ledger) block(after time.Duration, txs ...[]byte) *abci.ResponseFinalizeBlock {
	l.t.Helper()
	l.now = l.now.Add(after)
	height := max(l.app.LastBlockHeight()+1, l.initial)
	res, err := l.app.FinalizeBlock(&abci.RequestFinalizeBlock{
		Height: height, Time: l.now, Txs: txs, ProposerAddress: l.proposer,
	})
	require.NoError(l.t, err)
	_, err = l.app.Commit()
	require.NoError(l.t, err)
	return res
}

// advance lets time pass in blocks of at most 30 s, so that the meter keeps up.
func (l *ledger) advance(d time.Duration) {
	l.t.Helper()
	for d > 0 {
		step := min(d, 30*time.Second)
		l.block(step)
		d -= step
	}
}

// ctx reads the last committed state.
func (l *ledger) ctx() sdk.Context { return l.app.NewContext(true) }

// sign makes a transaction; extra counts those of the account that this block
// has already.
func (l *ledger) sign(from account, extra uint64, msgs ...sdk.Msg) []byte {
	l.t.Helper()
	acc := l.app.Accounts.GetAccount(l.ctx(), from.address)
	require.NotNil(l.t, acc, "account %s", from)
	config := l.app.Encoding.Tx
	b := config.NewTxBuilder()
	require.NoError(l.t, b.SetMsgs(msgs...))
	b.SetGasLimit(l.gas)
	b.SetFeeAmount(l.fee)
	sequence := acc.GetSequence() + extra
	mode := signing.SignMode_SIGN_MODE_DIRECT
	require.NoError(l.t, b.SetSignatures(signing.SignatureV2{
		PubKey: from.key.PubKey(), Data: &signing.SingleSignatureData{SignMode: mode}, Sequence: sequence,
	}))
	sig, err := clienttx.SignWithPrivKey(context.Background(), mode, authsigning.SignerData{
		Address: from.String(), ChainID: testChain, AccountNumber: acc.GetAccountNumber(), Sequence: sequence, PubKey: from.key.PubKey(),
	}, b, from.key, config, sequence)
	require.NoError(l.t, err)
	require.NoError(l.t, b.SetSignatures(sig))
	raw, err := config.TxEncoder()(b.GetTx())
	require.NoError(l.t, err)
	return raw
}

// send puts messages of one account into a block of their own, 1 ms later.
func (l *ledger) send(from account, msgs ...sdk.Msg) *abci.ExecTxResult {
	l.t.Helper()
	return l.block(time.Millisecond, l.sign(from, 0, msgs...)).TxResults[0]
}

// must is send for what has to be accepted.
func (l *ledger) must(from account, msgs ...sdk.Msg) *abci.ExecTxResult {
	l.t.Helper()
	res := l.send(from, msgs...)
	require.Zero(l.t, res.Code, res.Log)
	return res
}

// refused is send for what has to be refused with a code.
func (l *ledger) refused(why interface {
	Codespace() string
	ABCICode() uint32
}, from account, msgs ...sdk.Msg) {
	l.t.Helper()
	res := l.send(from, msgs...)
	require.Equal(l.t, why.Codespace(), res.Codespace, res.Log)
	require.Equal(l.t, why.ABCICode(), res.Code, res.Log)
}

// response decodes the only message response of a transaction.
func response[T proto.Message](t testing.TB, res *abci.ExecTxResult, into T) T {
	t.Helper()
	var data sdk.TxMsgData
	require.NoError(t, proto.Unmarshal(res.Data, &data))
	require.Len(t, data.MsgResponses, 1)
	require.NoError(t, proto.Unmarshal(data.MsgResponses[0].Value, into))
	return into
}

// balance is in base units.
func (l *ledger) balance(a sdk.AccAddress) int64 {
	return l.app.Bank.GetBalance(l.ctx(), a, app.BaseDenom).Amount.Int64()
}

func (l *ledger) supply() int64 {
	return l.app.Bank.GetSupply(l.ctx(), app.BaseDenom).Amount.Int64()
}

// register makes an account a provider with one node per name.
func (l *ledger) register(operator account, bond int64, nodes ...string) {
	l.t.Helper()
	l.must(operator, &registryv1.MsgRegisterProvider{
		Operator: operator.String(), Moniker: "test", Bond: sdk.NewInt64Coin(app.BaseDenom, bond),
	})
	for _, name := range nodes {
		l.must(operator, l.setNode(operator, name, 1))
	}
}

func (l *ledger) setNode(operator account, name string, sequence uint64) *registryv1.MsgSetNode {
	l.t.Helper()
	node := signerOf(name)
	record, err := wire.Seal(wire.NodeRecord{
		Version: wire.Version1, ChainID: testChain, Provider: operator.address, Node: node.PublicKey(), Sequence: sequence,
		Addresses: []string{"/ip4/127.0.0.1/tcp/4001"}, Region: "eu",
	}, node)
	require.NoError(l.t, err)
	return &registryv1.MsgSetNode{Operator: operator.String(), Record: record.Bytes()}
}
