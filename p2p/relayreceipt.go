package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"

	"github.com/moyai-network/moyai/p2p/limit"
	"github.com/moyai-network/moyai/wire"
)

// A relay asks the machines it carries for receipts: cumulative counters of
// bytes, signed by the machine's node key (docs/spec/relay.md). It shows the
// last receipt it holds with each question, so that a machine need remember
// nothing over a restart: its own signature tells it where it was.

// RelayReceiptProtocol carries one question and one answer.
const RelayReceiptProtocol protocol.ID = "/moyai/relay-receipt/1"

const (
	maxRelayFrame = 4 << 10
	// receiptRound is how often a relay asks those who owe little, too.
	receiptRound = time.Minute
	// receiptSlack is by how much a relay's count may run ahead of what has
	// arrived here: what is under way on all connections together.
	receiptSlack = 32 << 20
	// asksAtOnce bounds the questions under way: a machine may leave one unanswered.
	asksAtOnce = 8
	// maxRelaysKnown bounds of how many relays a machine remembers what it signed.
	maxRelaysKnown = 256
)

// relayAsk is a relay's question.
type relayAsk struct {
	Bytes   uint64 `cbor:"1,keyasint"` // carried in all for whoever is asked
	ChainID string `cbor:"2,keyasint"` // of Last
	Last    []byte `cbor:"3,keyasint"` // the newest receipt the relay holds, or empty
}

// Validate implements Message.
func (a *relayAsk) Validate() error {
	if a.Bytes > wire.MaxCarried {
		return fmt.Errorf("%d bytes are more than anybody can carry", a.Bytes)
	}
	return firstError(text("chain id", a.ChainID, wire.MaxChainID), size("last receipt", a.Last, 0, wire.KindRelayReceipt.MaxSigned()))
}

// relayAnswer is the machine's: a receipt, or why there is none.
type relayAnswer struct {
	ChainID string `cbor:"1,keyasint"`
	Receipt []byte `cbor:"2,keyasint"` // signed wire.RelayReceipt
	Refused string `cbor:"3,keyasint"`
}

// Validate implements Message.
func (a *relayAnswer) Validate() error {
	if (len(a.Receipt) == 0) == (a.Refused == "") {
		return errors.New("neither a receipt nor a reason, or both")
	}
	return firstError(text("chain id", a.ChainID, wire.MaxChainID),
		size("receipt", a.Receipt, 0, wire.KindRelayReceipt.MaxSigned()), text("refused", a.Refused, MaxText))
}

// counting is the host as the relay service sees it: what passes to and from the
// machines with a reservation is entered into the books.
type counting struct {
	host.Host
	books *RelayBooks
	most  uint64 // that may be unacknowledged
}

// NewStream implements host.Host. The relay service opens streams to the
// machines it carries, and to nobody else.
func (c counting) NewStream(ctx context.Context, p peer.ID, ids ...protocol.ID) (network.Stream, error) {
	s, err := c.Host.NewStream(ctx, p, ids...)
	if err != nil {
		return nil, err
	}
	return &countedStream{Stream: s, counting: c, machine: p}, nil
}

type countedStream struct {
	network.Stream
	counting
	machine peer.ID
}

var errUnacknowledged = errors.New("the machine does not acknowledge what is carried for it")

// Read implements io.Reader.
func (s *countedStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if over := s.count(n); err == nil { // io.EOF must stay what it is
		err = over
	}
	return n, err
}

// Write implements io.Writer.
func (s *countedStream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	if over := s.count(n); err == nil {
		err = over
	}
	return n, err
}

func (s *countedStream) count(n int) error {
	if n > 0 && s.books.carry(s.machine, n) > s.most {
		return errUnacknowledged
	}
	return nil
}

// collect asks for receipts until ctx ends.
func (h *Host) collect(ctx context.Context, books *RelayBooks) {
	round := time.NewTicker(receiptRound)
	defer round.Stop()
	room := make(chan struct{}, asksAtOnce)
	ask := func(id peer.ID) {
		room <- struct{}{}
		h.wg.Go(func() {
			defer func() { <-room }()
			if err := h.askReceipt(ctx, books, id); err != nil && ctx.Err() == nil {
				h.log.Info("no receipt for what was carried", "machine", id, "err", err)
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-books.due:
			ask(id)
		case <-round.C:
			for _, id := range books.owing() {
				ask(id)
			}
		}
		if err := books.Save(); err != nil {
			h.log.Error("relay's books not written", "err", err)
		}
	}
}

// AskReceipts asks every machine that is connected for a receipt now: before a
// relay stops.
func (h *Host) AskReceipts(ctx context.Context) {
	if h.books == nil {
		return
	}
	var wg sync.WaitGroup
	for _, id := range h.books.owing() {
		wg.Go(func() { _ = h.askReceipt(ctx, h.books, id) })
	}
	wg.Wait()
}

func (h *Host) askReceipt(ctx context.Context, books *RelayBooks, id peer.ID) error {
	owed, any := books.open(id)
	if !any || !h.Direct(id) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.patience)
	defer cancel()
	s, err := h.OpenStream(ctx, peer.AddrInfo{ID: id}, RelayReceiptProtocol)
	if err != nil {
		return err
	}
	defer s.Close()
	defer s.closeOn(ctx)()
	if err := s.Send(maxRelayFrame, &relayAsk{Bytes: owed.Bytes, ChainID: owed.ChainID, Last: owed.Receipt}); err != nil {
		return err
	}
	var answer relayAnswer
	if err := s.Recv(maxRelayFrame, h.patience, &answer); err != nil {
		return err
	}
	if err := books.enter(h.Node(), id, owed, &answer); err != nil {
		if answer.Refused == "" {
			h.Strike(id, err)
		}
		return err
	}
	return nil
}

// Acknowledge makes this machine sign receipts for what relays carry for it, as
// far as it has seen the bytes itself. Only relays at which it keeps a place are
// answered.
func (h *Host) Acknowledge(chainID string, signer wire.Signer) (remove func()) {
	signing := &acknowledger{host: h, chainID: chainID, signer: signer, relays: limit.NewTable[peer.ID, *acknowledged](maxRelaysKnown)}
	return h.Handle(RelayReceiptProtocol, func(_ context.Context, s *Stream) {
		defer s.Close()
		var ask relayAsk
		if err := s.Recv(maxRelayFrame, h.patience, &ask); err != nil {
			return
		}
		answer := &relayAnswer{ChainID: chainID}
		receipt, err := signing.sign(s.Peer(), &ask)
		if err != nil {
			answer.Refused = err.Error()
		} else {
			answer.Receipt = receipt.Bytes()
		}
		_ = s.Send(maxRelayFrame, answer)
	})
}

// acknowledger signs for one machine.
type acknowledger struct {
	host    *Host
	chainID string
	signer  wire.Signer

	mu     sync.Mutex
	relays *limit.Table[peer.ID, *acknowledged]
}

// acknowledged is what a machine remembers of one relay while it runs.
type acknowledged struct {
	base     uint64 // acknowledged before this process began
	bytes    uint64 // acknowledged in all
	sequence uint64
}

func (a *acknowledger) sign(relay peer.ID, ask *relayAsk) (wire.Signed[wire.RelayReceipt], error) {
	var none wire.Signed[wire.RelayReceipt]
	key, err := NodeFromPeerID(relay)
	if err != nil {
		return none, err
	}
	if !a.host.reserved.holds(relay) {
		return none, errors.New("this machine keeps no place at that relay")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known, met := a.relays.Get(relay)
	if !met {
		known = &acknowledged{}
		if last, ok := a.shown(key, ask); ok {
			known.base, known.bytes, known.sequence = last.Bytes, last.Bytes, last.Sequence
		}
	}
	seen := a.host.traffic.of(relay)
	switch {
	case ask.Bytes < known.bytes:
		return none, fmt.Errorf("asks for %d bytes after %d were acknowledged", ask.Bytes, known.bytes)
	case ask.Bytes-known.base > seen+receiptSlack:
		err := fmt.Errorf("claims to have carried %d bytes where %d were seen", ask.Bytes-known.base, seen)
		a.host.Strike(relay, err)
		return none, err
	}
	receipt, err := wire.Seal(wire.RelayReceipt{
		Version: wire.Version1, ChainID: a.chainID, Relay: key, Node: a.host.Node(), Sequence: known.sequence + 1, Bytes: ask.Bytes,
	}, a.signer)
	if err != nil {
		return none, err
	}
	known.bytes, known.sequence = ask.Bytes, known.sequence+1
	a.relays.Put(relay, known)
	return receipt, nil
}

// shown is the receipt that a relay shows as our last one, if we have signed it.
func (a *acknowledger) shown(relay []byte, ask *relayAsk) (wire.RelayReceipt, bool) {
	if len(ask.Last) == 0 || ask.ChainID != a.chainID {
		return wire.RelayReceipt{}, false
	}
	last, err := wire.Open[wire.RelayReceipt](a.chainID, ask.Last)
	if err != nil || !bytes.Equal(last.Value.Relay, relay) || !bytes.Equal(last.Value.Node, a.host.Node()) || wire.VerifyRelayReceipt(last) != nil {
		return wire.RelayReceipt{}, false
	}
	return last.Value, true
}

// traffic counts what relays carry to and from this machine, as it sees it: the
// bytes of the streams that relays open to hand connections over. It is the
// host's bandwidth reporter and counts nothing else.
type traffic struct {
	metrics.Reporter // of which nothing else is ever called

	mu    sync.Mutex
	bytes *limit.Table[peer.ID, uint64]
}

func newTraffic() *traffic {
	return &traffic{bytes: limit.NewTable[peer.ID, uint64](maxRelaysKnown)}
}

// LogSentMessage implements metrics.Reporter.
func (*traffic) LogSentMessage(int64) {}

// LogRecvMessage implements metrics.Reporter.
func (*traffic) LogRecvMessage(int64) {}

// LogSentMessageStream implements metrics.Reporter.
func (t *traffic) LogSentMessageStream(n int64, id protocol.ID, from peer.ID) { t.add(n, id, from) }

// LogRecvMessageStream implements metrics.Reporter.
func (t *traffic) LogRecvMessageStream(n int64, id protocol.ID, from peer.ID) { t.add(n, id, from) }

func (t *traffic) add(n int64, id protocol.ID, relay peer.ID) {
	if id != proto.ProtoIDv2Stop || n <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	sum, _ := t.bytes.Get(relay)
	t.bytes.Put(relay, sum+uint64(n))
}

func (t *traffic) of(relay peer.ID) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum, _ := t.bytes.Peek(relay)
	return sum
}
