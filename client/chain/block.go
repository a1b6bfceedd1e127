package chain

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/gogoproto/proto"
)

// Block is one committed block: its transactions, what became of them, and
// every event.
type Block struct {
	Height int64
	// Time is block time: the median of the previous commit's votes.
	Time time.Time
	Txs  []Tx
	// Events are those of the block itself: queues in the end blocker and such.
	Events []abci.Event
}

// Tx is one transaction of a block and its result.
type Tx struct {
	Hash      string // upper-case hex of SHA-256(Bytes)
	Bytes     []byte
	Code      Code // zero: accepted
	Log       string
	GasWanted int64
	GasUsed   int64
	Data      []byte // encoded message responses
	Events    []abci.Event
}

// OK tells whether the transaction was accepted.
func (t *Tx) OK() bool { return t.Code.Code == 0 }

// Event is one typed event, such as *marketv1.EventLeaseOpened.
type Event struct {
	Height int64
	TxHash string // empty for events of the block itself
	Msg    proto.Message
}

// Typed returns the block's typed events of Moyai's modules in the order the
// chain emitted them: accepted transactions first, then the block's own.
// Events this version does not know are left out: events are append-only.
func (b *Block) Typed() []Event {
	var out []Event
	for i := range b.Txs {
		tx := &b.Txs[i]
		if tx.OK() {
			out = appendTyped(out, b.Height, tx.Hash, tx.Events)
		}
	}
	return appendTyped(out, b.Height, "", b.Events)
}

func appendTyped(out []Event, height int64, hash string, events []abci.Event) []Event {
	for _, e := range events {
		if !strings.HasPrefix(e.Type, "moyai.") {
			continue
		}
		// The SDK adds where in the block an event comes from, as plain text, which
		// ParseTypedEvent would take for a field in JSON.
		e.Attributes = slices.DeleteFunc(slices.Clone(e.Attributes), func(a abci.EventAttribute) bool {
			return a.Key == "mode" || a.Key == "msg_index"
		})
		msg, err := sdk.ParseTypedEvent(e)
		if err != nil {
			continue // a newer chain's event: append-only, so skipping is right
		}
		out = append(out, Event{Height: height, TxHash: hash, Msg: msg})
	}
	return out
}

// TxHash names a transaction the way explorers and RPC do.
func TxHash(raw []byte) string {
	sum := sha256.Sum256(raw)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

func newBlock(height int64, at time.Time, raws [][]byte, results []*abci.ExecTxResult, events []abci.Event) *Block {
	b := &Block{Height: height, Time: at, Events: events, Txs: make([]Tx, 0, len(results))}
	for i, r := range results {
		tx := Tx{GasWanted: r.GasWanted, GasUsed: r.GasUsed, Data: r.Data, Events: r.Events, Log: r.Log}
		if r.Code != 0 {
			tx.Code = Code{r.Codespace, r.Code}
		}
		if i < len(raws) {
			tx.Bytes, tx.Hash = raws[i], TxHash(raws[i])
		}
		b.Txs = append(b.Txs, tx)
	}
	return b
}
