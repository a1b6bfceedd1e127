package app_test

import (
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/stretchr/testify/require"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
)

// BenchmarkLeases opens and closes leases in batches of 100, each transaction
// through CheckTx and a block of its own. Every lease has its own order, slot,
// bid, ready and final receipt; signing is not timed. One op is one lease: its
// opening and its close.
func BenchmarkLeases(b *testing.B) {
	const batch = 100
	payer, provider := accountOf("payer"), accountOf("provider")
	l := newLedger(b, []string{"payer", "provider"}, nil)
	l.register(provider, 0, "node")
	b.ResetTimer()
	b.StopTimer()
	var gas int64
	for done := 0; done < b.N; done += batch {
		var items []marketv1.OpenItem
		var closes []marketv1.CloseItem
		for i := range uint32(batch) {
			d := l.newDeal(payer, provider, "node", i, uint64(done+1))
			items = append(items, d.item())
			r := &running{ledger: l, id: d.leaseID(0), node: d.offers[0].node, key: d.receiptKey}
			closes = append(closes, closeItem(r.id, int32(final), r.receipt(1, 20*sec, true)))
		}
		for _, tx := range [][]byte{
			l.sign(payer, 0, openMsg(payer, true, items...)), l.sign(provider, 0, closeMsg(provider, true, closes...)),
		} {
			b.StartTimer()
			check, err := l.app.CheckTx(&abci.RequestCheckTx{Tx: tx})
			res := l.block(10*time.Millisecond, tx)
			b.StopTimer()
			require.NoError(b, err)
			require.Zero(b, check.Code, check.Log)
			require.Zero(b, res.TxResults[0].Code, res.TxResults[0].Log)
			gas += res.TxResults[0].GasUsed
		}
	}
	b.ReportMetric(float64(gas)/float64((b.N+batch-1)/batch*batch), "gas/op")
}
