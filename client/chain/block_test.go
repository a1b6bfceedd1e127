package chain

import (
	"testing"

	abci "github.com/cometbft/cometbft/abci/types"
	sdk "github.com/cosmos/cosmos-sdk/types"

	marketv1 "github.com/moyai-network/moyai/api/moyai/market/v1"
)

// TestTypedReadsEventsOfTheBlock: the application marks the events of its end
// blocker and of each message with attributes that are not part of them.
func TestTypedReadsEventsOfTheBlock(t *testing.T) {
	typed, err := sdk.TypedEventToEvent(&marketv1.EventLeaseClosed{LeaseId: []byte{1, 2, 3}, Reason: 7})
	if err != nil {
		t.Fatal(err)
	}
	marked := func(key, value string) abci.Event {
		e := abci.Event(typed)
		e.Attributes = append(append([]abci.EventAttribute(nil), e.Attributes...), abci.EventAttribute{Key: key, Value: value})
		return e
	}
	b := &Block{
		Height: 5, Txs: []Tx{{Hash: "AB", Events: []abci.Event{marked("msg_index", "0")}}},
		Events: []abci.Event{marked("mode", "EndBlock"), {Type: "moyai.market.v1.EventOfTheFuture"}},
	}
	events := b.Typed()
	if len(events) != 2 {
		t.Fatalf("%d events were read, want those of the transaction and of the block", len(events))
	}
	for i, hash := range []string{"AB", ""} {
		m, ok := events[i].Msg.(*marketv1.EventLeaseClosed)
		if !ok || m.Reason != 7 || len(m.LeaseId) != 3 || events[i].TxHash != hash || events[i].Height != 5 {
			t.Errorf("event %d: %+v", i, events[i])
		}
	}
}
