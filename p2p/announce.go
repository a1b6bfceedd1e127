package p2p

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// The protocols of a host. There is one id per stream, always.
const (
	OrderProtocol   protocol.ID = "/moyai/order/1"
	BidProtocol     protocol.ID = "/moyai/bid/1"
	QuoteProtocol   protocol.ID = "/moyai/quote/1"
	LeaseProtocol   protocol.ID = "/moyai/lease/1"
	ContentProtocol protocol.ID = "/moyai/content/1"

	// DHTProtocol is libp2p's name for a DHT with our prefix: see package discovery.
	DHTPrefix   protocol.ID = "/moyai"
	DHTProtocol             = DHTPrefix + "/kad/1.0.0"
)

// Bounds shared by several messages, in bytes unless said otherwise.
const (
	MaxAnnounce = 16 << 10    // one announced order with its addresses
	MaxSigned   = 8<<10 + 512 // one signed object of package wire with its envelope
	MaxManifest = 64 << 10    // a manifest's bytes
	MaxAddrs    = 16          // addresses in a list, count
	MaxText     = 1024        // one line meant for people
	MaxHints    = 8           // hints of an announcement, count
	MaxID       = 128         // a peer id, a name, an attribute

	hashLen    = 32
	leaseIDLen = 20
)

// Topic is the gossip topic of orders of one service kind, region and class;
// "any" stands for no preference.
func Topic(kind, region, class string) string {
	return "moyai/" + kind + "/" + region + "/" + class + "/1"
}

// OrderTopic is where orders for compute are announced today.
var OrderTopic = Topic("compute", "any", "any")

// Announce is an order on its way to providers: what gossip carries.
type Announce struct {
	Order  []byte   `cbor:"1,keyasint"` // signed wire.Order
	Peer   []byte   `cbor:"2,keyasint"` // the tenant's peer id bytes
	Addrs  []string `cbor:"3,keyasint"` // the tenant's multiaddrs, ≤ MaxAddrs
	Access []byte   `cbor:"4,keyasint"` // signed wire.Access: the order's receipt key vouches for Peer
	// Hints let a provider say how much of what the order needs is there already.
	// They are the tenant's to give: whoever has the same thing recognises them.
	Hints []Hint `cbor:"5,keyasint,omitempty"` // ≤ MaxHints
}

// Hint stands for one thing that an order needs.
type Hint struct {
	_     struct{} `cbor:",toarray"`
	Key   []byte   // 32 bytes: a hash of the thing's identifier
	Bytes uint64
}

// Validate implements Message.
func (a *Announce) Validate() error {
	if _, err := peer.IDFromBytes(a.Peer); err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	if len(a.Hints) > MaxHints {
		return fmt.Errorf("%d hints, at most %d", len(a.Hints), MaxHints)
	}
	for _, h := range a.Hints {
		if err := size("hint", h.Key, hashLen, hashLen); err != nil {
			return err
		}
	}
	return firstError(
		size("order", a.Order, 1, MaxSigned),
		size("access", a.Access, 1, MaxSigned),
		addresses(a.Addrs),
	)
}

// AddrInfo is whom to send bids to. Addresses that this host's libp2p cannot
// parse are an error.
func (a *Announce) AddrInfo() (peer.AddrInfo, error) {
	id, err := peer.IDFromBytes(a.Peer)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("announced peer: %w", err)
	}
	return ParseAddrInfo(id, a.Addrs)
}

// Encode is the announcement as gossip carries it: bare CBOR, no length prefix,
// at most MaxAnnounce bytes.
func (a *Announce) Encode() ([]byte, error) {
	if err := a.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidMessage, err)
	}
	b, err := encMode.Marshal(a)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxAnnounce {
		return nil, fmt.Errorf("%w: announcement has %d bytes, at most %d", ErrFrameTooLarge, len(b), MaxAnnounce)
	}
	return b, nil
}

// DecodeAnnounce is the inverse of Encode, for bytes from a stranger.
func DecodeAnnounce(b []byte) (*Announce, error) {
	if len(b) > MaxAnnounce {
		return nil, fmt.Errorf("%w: announcement has %d bytes, at most %d", ErrFrameTooLarge, len(b), MaxAnnounce)
	}
	a := new(Announce)
	if err := decodeBody(b, a); err != nil {
		return nil, err
	}
	return a, nil
}

// Refusal is a reason not to serve, in parts that a program can compare and a
// person can read: subject "memory.bytes", need "24 GiB of memory", have "largest
// free is 16 GiB".
type Refusal struct {
	Subject string `cbor:"1,keyasint"`           // what failed: a dimension, an attribute, "rate", "busy", …
	Need    string `cbor:"2,keyasint,omitempty"` // what was asked for
	Have    string `cbor:"3,keyasint,omitempty"` // what there is, as a clause
	Hint    string `cbor:"4,keyasint,omitempty"` // one line: what to do next, or the whole reason
}

// Validate implements Message.
func (r *Refusal) Validate() error {
	return firstError(
		text("subject", r.Subject, MaxID), text("need", r.Need, MaxText),
		text("have", r.Have, MaxText), text("hint", r.Hint, MaxText),
	)
}

// String is the refusal for people: "needs 24 GiB of memory, largest free is 16
// GiB: ask for at most 16 GiB".
func (r *Refusal) String() string {
	out := r.Subject
	if r.Need != "" {
		out = "needs " + r.Need
	}
	if r.Have != "" {
		out += ", " + r.Have
	}
	if r.Hint != "" {
		out += ": " + r.Hint
	}
	return out
}

// RefusedError is a peer's Refusal as an error.
type RefusedError struct {
	Peer    peer.ID
	Refusal Refusal
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refused: %s", e.Peer, e.Refusal.String())
}
