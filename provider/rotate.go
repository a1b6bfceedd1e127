package provider

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	sdk "github.com/cosmos/cosmos-sdk/types"

	registryv1 "github.com/moyai-network/moyai/api/moyai/registry/v1"
	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/wire"
)

// NodeKeyPath is where a home keeps its machine's key.
func NodeKeyPath(home string) string { return filepath.Join(home, "node.key") }

// Rotation gives a home another node key.
type Rotation struct {
	Home     string
	Chain    *chain.Client
	Acting   *chain.Sender // the operator, or its hot account
	Operator []byte        // account
}

// Rotate registers a new key in place of the home's and revokes the old one, in
// one transaction, so that the operator never has one machine too many or too
// few. A key signs for its leases until they are settled and their results are
// gone, so none may be left: ErrLeases. ErrRunning if the daemon runs. What was
// signed with the old key stays answerable on the chain; the key and its journal
// are kept in the home, under retired.
//
// Interrupted at any point, it is finished by doing it again.
func (r Rotation) Rotate(ctx context.Context) (was, is p2p.Key, err error) {
	unlock, err := lockHome(r.Home)
	if err != nil {
		return was, is, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if was, err = p2p.LoadKey(NodeKeyPath(r.Home)); err != nil {
		return was, is, err
	}
	if err := r.idle(ctx, was); err != nil {
		return was, is, err
	}
	next := NodeKeyPath(r.Home) + ".next"
	if is, err = p2p.LoadOrCreateKey(next); err != nil {
		return was, is, err
	}
	if err := r.announce(ctx, was, is); err != nil {
		return was, is, err
	}
	return was, is, r.swap(was, next)
}

// idle refuses while the old key still has something to sign or to serve.
func (r Rotation) idle(ctx context.Context, was p2p.Key) error {
	path := filepath.Join(r.Home, "journal.db")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	j, err := journal.Open(ctx, journal.Options{Path: path, ChainID: r.Chain.ChainID(), Node: was.Public()})
	if err != nil {
		return err
	}
	live, err := j.Live(ctx)
	if err = errors.Join(err, j.Close()); err != nil {
		return err
	}
	if len(live) > 0 {
		return fmt.Errorf("%w: %d are not settled, or their results are still kept", ErrLeases, len(live))
	}
	return nil
}

// announce tells the chain of the change, as far as it does not know it.
func (r Rotation) announce(ctx context.Context, was, is p2p.Key) error {
	nodes, err := r.Chain.Nodes(ctx, chain.Address(r.Operator), false)
	if err != nil {
		return err
	}
	find := func(k p2p.Key) *registryv1.Node {
		at := slices.IndexFunc(nodes, func(n registryv1.Node) bool { return string(n.Node) == string(k.Public()) })
		if at < 0 {
			return nil
		}
		return &nodes[at]
	}
	old := find(was)
	if old == nil || old.RevokedAt != 0 {
		return nil // a newcomer's, or told already: the next start registers what is missing
	}
	revoke := &registryv1.MsgRevokeNode{Operator: r.Acting.Address(), Node: was.Public()}
	if find(is) != nil {
		_, err = r.Acting.Send(ctx, revoke)
		return err
	}
	signer, err := wire.NewEd25519Signer(is.Seed())
	if err != nil {
		return err
	}
	record, err := wire.Seal(wire.NodeRecord{
		Version: wire.Version1, ChainID: r.Chain.ChainID(), Provider: r.Operator, Node: is.Public(),
		Sequence: uint64(time.Now().UnixMilli()), Addresses: old.Addresses, Region: old.Region,
	}, signer)
	if err != nil {
		return err
	}
	set := &registryv1.MsgSetNode{Operator: r.Acting.Address(), Record: record.Bytes(), Attributes: old.Attributes}
	// The old one goes first: a provider may have as many machines as it is allowed.
	_, err = r.Acting.Send(ctx, sdk.Msg(revoke), set)
	return err
}

// swap puts the new key in its place. The key itself moves last.
func (r Rotation) swap(was p2p.Key, next string) error {
	retired := filepath.Join(r.Home, "retired", hex.EncodeToString(was.Public()[:6]))
	if err := os.MkdirAll(retired, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"journal.db-wal", "journal.db-shm", "journal.db"} {
		err := os.Rename(filepath.Join(r.Home, name), filepath.Join(retired, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	old, err := os.ReadFile(NodeKeyPath(r.Home))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(retired, "node.key"), old, 0o600); err != nil {
		return err
	}
	return os.Rename(next, NodeKeyPath(r.Home))
}
