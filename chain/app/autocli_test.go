package app_test

import (
	"testing"

	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/crypto/keyring"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// TestAutoCLI derives the command line from the services: every query of ours
// is a verb, and no verb sends what only a program can sign.
func TestAutoCLI(t *testing.T) {
	a := openApp(t, dbm.NewMemDB())
	ctx := client.Context{}.WithCodec(a.Encoding.Codec).WithInterfaceRegistry(a.Encoding.Registry).
		WithTxConfig(a.Encoding.Tx).WithKeyring(keyring.NewInMemory(a.Encoding.Codec))
	root := &cobra.Command{Use: "moyai"}
	require.NoError(t, a.AutoCLI(ctx).EnhanceRootCommand(root))
	for _, path := range [][]string{
		{"query", "market", "lease"}, {"query", "market", "leases"}, {"query", "market", "slot"}, {"query", "market", "params"},
		{"query", "escrow", "holds"}, {"query", "escrow", "totals"}, {"query", "escrow", "meter-clock"},
		{"query", "registry", "provider"}, {"query", "registry", "nodes"}, {"query", "registry", "dimensions"},
		{"tx", "registry", "bond"}, {"tx", "registry", "leave"},
	} {
		found, rest, err := root.Find(path)
		require.NoError(t, err, path)
		require.Empty(t, rest, path)
		require.Equal(t, path[len(path)-1], found.Name())
	}
	_, rest, _ := root.Find([]string{"tx", "market", "open-leases"})
	require.NotEmpty(t, rest, "leases are opened by the client, which signs")
}
