package discovery

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

// nodeSpace begins the key of a signed node record: /moyai-node/CHAIN/NODE, the
// node key in hex.
const nodeSpace = "moyai-node"

// ErrNotFound means that nobody asked knows such a machine.
var ErrNotFound = errors.New("the DHT knows no record of this machine")

func nodeKey(chainID string, node []byte) string {
	return "/" + nodeSpace + "/" + chainID + "/" + hex.EncodeToString(node)
}

func splitNodeKey(key string) (chainID string, node []byte, err error) {
	rest, ours := strings.CutPrefix(key, "/"+nodeSpace+"/")
	chainID, text, ok := strings.Cut(rest, "/")
	if node, err = hex.DecodeString(text); !ours || !ok || err != nil ||
		len(node) != wire.KeySize || chainID == "" || len(chainID) > wire.MaxChainID || text != strings.ToLower(text) {
		return "", nil, errors.New("not the key of a node record")
	}
	return chainID, node, nil
}

// nodeValidator admits records that their own node has signed, and prefers the
// one with the greatest sequence.
type nodeValidator struct{}

var _ record.Validator = nodeValidator{}

// Validate implements record.Validator.
func (nodeValidator) Validate(key string, value []byte) error {
	_, err := openRecord(key, value)
	return err
}

func openRecord(key string, value []byte) (wire.Signed[wire.NodeRecord], error) {
	var none wire.Signed[wire.NodeRecord]
	chainID, node, err := splitNodeKey(key)
	if err != nil {
		return none, err
	}
	r, err := wire.Open[wire.NodeRecord](chainID, value)
	if err != nil {
		return none, err
	}
	if !bytes.Equal(r.Value.Node, node) {
		return none, errors.New("record of another node than the key names")
	}
	return r, wire.VerifyNodeRecord(r)
}

// Select implements record.Validator.
func (nodeValidator) Select(key string, values [][]byte) (int, error) {
	best, highest := -1, uint64(0)
	for i, v := range values {
		r, err := openRecord(key, v)
		if err == nil && (best < 0 || r.Value.Sequence > highest) {
			best, highest = i, r.Value.Sequence
		}
	}
	if best < 0 {
		return 0, errors.New("none of the records is valid")
	}
	return best, nil
}

// Publish keeps a machine's own record in the DHT, made afresh by seal: now,
// whenever moved delivers, and from time to time, until ctx or the Finder ends.
func (f *Finder) Publish(ctx context.Context, moved <-chan struct{}, seal func() (wire.Signed[wire.NodeRecord], error)) {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(f.ctx, cancel)
	f.wg.Go(func() {
		defer cancel()
		f.repeat(ctx, moved, func(ctx context.Context) error {
			r, err := seal()
			if err != nil {
				return err
			}
			return f.dht.PutValue(ctx, nodeKey(r.Value.ChainID, r.Value.Node), r.Bytes())
		})
	})
}

// Node looks a machine's record up by its node key: the newest that it has signed
// and that is found. Errors wrap ErrNotFound or ErrAlone.
func (f *Finder) Node(ctx context.Context, chainID string, node []byte) (wire.NodeRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if err := f.await(ctx); err != nil {
		return wire.NodeRecord{}, err
	}
	key := nodeKey(chainID, node)
	value, err := f.dht.GetValue(ctx, key, dht.Quorum(nodeQuorum))
	if value == nil {
		if err == nil || errors.Is(err, routing.ErrNotFound) || ctx.Err() != nil {
			err = ErrNotFound
		}
		return wire.NodeRecord{}, fmt.Errorf("node %x: %w", node, err)
	}
	r, err := openRecord(key, value)
	return r.Value, err
}

// nodeQuorum is how many answers with a record are enough: one may be stale.
const nodeQuorum = 3

// Locate is Node for who wants to dial: the machine's addresses as it has signed
// them, without those that cannot be parsed.
func (f *Finder) Locate(ctx context.Context, chainID string, id peer.ID) (peer.AddrInfo, error) {
	node, err := p2p.NodeFromPeerID(id)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	r, err := f.Node(ctx, chainID, node)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	info, err := p2p.ParseAddrInfo(id, r.Addresses)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("record of %s: %w", id, err)
	}
	return info, nil
}
