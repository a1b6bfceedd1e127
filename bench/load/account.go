package load

import (
	"context"
	"fmt"
	"time"

	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	sdk "github.com/cosmos/cosmos-sdk/types"
	txtypes "github.com/cosmos/cosmos-sdk/types/tx"
	signingtypes "github.com/cosmos/cosmos-sdk/types/tx/signing"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/gogoproto/proto"
	"google.golang.org/grpc"

	"github.com/moyai-network/moyai/chain/app"
)

// account signs transactions the way package client/chain does: unordered, in
// SIGN_MODE_DIRECT, named by a timeout that is never used twice.
type account struct {
	key     *secp256k1.PrivKey
	pub     *codectypes.Any
	bytes   sdk.AccAddress
	address string
	number  uint64
	nonces  int64
}

func newAccount() (*account, error) {
	key := secp256k1.GenPrivKey()
	pub, err := codectypes.NewAnyWithValue(key.PubKey())
	if err != nil {
		return nil, err
	}
	address := sdk.AccAddress(key.PubKey().Address())
	return &account{key: key, pub: pub, bytes: address, address: address.String()}, nil
}

func newAccounts(n int) ([]*account, error) {
	all := make([]*account, n)
	for i := range all {
		var err error
		if all[i], err = newAccount(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// txLife is how long a signed transaction can be committed; the chain allows
// 60 s from its last block.
const txLife = 50 * time.Second

// sign makes a transaction of one message.
func (a *account) sign(chainID string, gas, gasPrice uint64, msg sdk.Msg) ([]byte, error) {
	wrapped, err := codectypes.NewAnyWithValue(msg)
	if err != nil {
		return nil, err
	}
	a.nonces++
	expiry := time.Now().Add(txLife + time.Duration(a.nonces)).UTC()
	body := &txtypes.TxBody{Messages: []*codectypes.Any{wrapped}, Unordered: true, TimeoutTimestamp: &expiry}
	fee := (gas*gasPrice + 999_999) / 1_000_000
	auth := &txtypes.AuthInfo{
		SignerInfos: []*txtypes.SignerInfo{{
			PublicKey: a.pub,
			ModeInfo: &txtypes.ModeInfo{Sum: &txtypes.ModeInfo_Single_{
				Single: &txtypes.ModeInfo_Single{Mode: signingtypes.SignMode_SIGN_MODE_DIRECT},
			}},
		}},
		Fee: &txtypes.Fee{GasLimit: gas, Amount: sdk.NewCoins(sdk.NewInt64Coin(app.BaseDenom, int64(fee)))},
	}
	raw := &txtypes.TxRaw{}
	if raw.BodyBytes, err = body.Marshal(); err != nil {
		return nil, err
	}
	if raw.AuthInfoBytes, err = auth.Marshal(); err != nil {
		return nil, err
	}
	doc := &txtypes.SignDoc{BodyBytes: raw.BodyBytes, AuthInfoBytes: raw.AuthInfoBytes, ChainId: chainID, AccountNumber: a.number}
	signBytes, err := doc.Marshal()
	if err != nil {
		return nil, err
	}
	sig, err := a.key.Sign(signBytes)
	if err != nil {
		return nil, err
	}
	raw.Signatures = [][]byte{sig}
	return proto.Marshal(raw)
}

// learnNumbers asks the chain for the accounts' numbers.
func learnNumbers(ctx context.Context, c grpc.ClientConnInterface, accounts []*account) error {
	queries := authtypes.NewQueryClient(c)
	for _, a := range accounts {
		info, err := queries.AccountInfo(ctx, &authtypes.QueryAccountInfoRequest{Address: a.address})
		if err != nil {
			return fmt.Errorf("account %s: %w", a.address, err)
		}
		a.number = info.Info.AccountNumber
	}
	return nil
}
