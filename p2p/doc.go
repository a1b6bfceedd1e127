// Package p2p is how Moyai's roles speak to each other: one libp2p host per
// machine (QUIC and TCP), bounded frames on streams, and the messages of the
// bid, quote and lease protocols.
//
// It moves bytes and refuses bad ones. Every message has a bound that the
// reader states before it reads a byte, a deadline, and a Validate method that
// checks shape; a peer that breaks them is struck, and after a few strikes
// disconnected and kept away for a while (see [Host.Strike]).
//
// It deliberately does not know what is inside a signed object. Whether a bid,
// an access or a receipt is good is for the role that receives it, with package
// wire; whether a lease is owed money is for mechanism/lease. By itself it finds
// nobody: addresses come from the chain's registry, from the announcement of an
// order and from discovery.
//
// Subpackages: gossip carries announced orders, content carries files and
// folders, discovery finds machines over a DHT, limit keeps keyed rate limits of
// bounded size.
//
// # Framing
//
// A frame is an unsigned varint (at most 4 bytes, minimal) followed by that many
// bytes of one CBOR item in core deterministic encoding. Decoding refuses
// duplicate keys, indefinite lengths, deep nesting, trailing bytes and invalid
// UTF-8; fields it does not know are ignored, so that a message can grow within
// one protocol version.
//
// # Latency
//
// Each stream offers exactly one protocol id, so libp2p negotiates it lazily:
// the first frame travels together with the protocol id and a request costs one
// round trip on a warm connection. Never open a stream with several ids.
package p2p
