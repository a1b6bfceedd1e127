package chain

import (
	"fmt"

	"cosmossdk.io/core/address"
	"github.com/cosmos/cosmos-sdk/codec"
	addresscodec "github.com/cosmos/cosmos-sdk/codec/address"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/std"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/tx/signing"
	"github.com/cosmos/gogoproto/proto"
)

// Bech32Prefix of account addresses, and the denomination that pays fees and
// bonds.
const (
	Bech32Prefix = "moyai"
	BaseDenom    = "umoy"
)

// addresses turns account addresses into text without the SDK's global
// configuration, which belongs to whoever runs the ledger in this process.
var addresses address.Codec = addresscodec.NewBech32Codec(Bech32Prefix)

// Address is the bech32 form of an account's bytes; empty for invalid bytes.
func Address(account []byte) string {
	s, err := addresses.BytesToString(account)
	if err != nil {
		return ""
	}
	return s
}

// ParseAddress turns bech32 text into an account's bytes.
func ParseAddress(text string) ([]byte, error) {
	b, err := addresses.StringToBytes(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not an account address (they start with %q): %w", text, Bech32Prefix+"1", err)
	}
	return b, nil
}

// newCodec knows every message that roles send or read.
func newCodec() (codec.Codec, codectypes.InterfaceRegistry, error) {
	reg, err := codectypes.NewInterfaceRegistryWithOptions(codectypes.InterfaceRegistryOptions{
		ProtoFiles: proto.HybridResolver,
		SigningOptions: signing.Options{
			AddressCodec:          addresses,
			ValidatorAddressCodec: addresscodec.NewBech32Codec(Bech32Prefix + "valoper"),
		},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("build codec: %w", err)
	}
	std.RegisterInterfaces(reg)
	authtypes.RegisterInterfaces(reg)
	banktypes.RegisterInterfaces(reg)
	registerAPI(reg)
	return codec.NewProtoCodec(reg), reg, nil
}
