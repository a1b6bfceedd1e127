package chain

import codectypes "github.com/cosmos/cosmos-sdk/codec/types"

// registerAPI registers the messages of Moyai's own modules.
func registerAPI(codectypes.InterfaceRegistry) {}
