package provider

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/journal"
	"github.com/moyai-network/moyai/provider/leasing"
	"github.com/moyai-network/moyai/wire"
)

// shelves is a VolumeKeeper whose volumes are plain files.
type shelves struct {
	compute.Runtime
	full bool
}

func (*shelves) Name() string { return "shelves" }

func (s *shelves) MakeVolume(_ context.Context, file string, _ uint64) error {
	if s.full {
		return compute.ErrUnavailable
	}
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	return os.WriteFile(file, []byte("new"), 0o600)
}

func (*shelves) ExportVolume(_ context.Context, file string, w io.Writer) error {
	b, err := os.ReadFile(file)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

func newAttic(t *testing.T) (*attic, *shelves) {
	t.Helper()
	home := t.TempDir()
	j, err := journal.Open(t.Context(), journal.Options{Path: filepath.Join(home, "journal.db"), ChainID: testChain, Node: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	keeper := &shelves{}
	d := &desk{chainID: testChain, journal: j, clock: time.Now, log: slog.New(slog.DiscardHandler), byID: map[journal.ID]*agreement{}, ctx: t.Context()}
	d.attic, err = openAttic(d, &Config{Home: home, Runtimes: []compute.Runtime{keeper}, Volumes: VolumePolicy{Bytes: 100 << 20, MaxKeep: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	return d.attic, keeper
}

// lease is a running lease of a payer with one volume.
func (t *attic) lease(id byte, payer string, v manifest.Volume) *agreement {
	a := &agreement{d: t.d, row: journal.Lease{ID: journal.ID{id}, OrderHash: [32]byte{id}}, order: wire.Order{Payer: []byte(payer), Terms: wire.Terms{ReceiptKey: []byte{id}}},
		man: manifest.Manifest{Runtime: "shelves", Volumes: []manifest.Volume{v}}, log: t.d.log, state: leasing.State{Work: leasing.WorkRunning, Chain: leasing.ChainOpen}}
	t.d.byID[a.row.ID] = a
	return a
}

func TestAttic(t *testing.T) {
	attic, keeper := newAttic(t)
	data := manifest.Volume{Name: "data", Path: "/data", Bytes: 40 << 20, KeepMS: 60_000}
	first := attic.lease(1, "ann", data)
	got, err := attic.open(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(got[0].File, []byte("ann's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := attic.open(t.Context(), attic.lease(2, "ann", data)); !errors.Is(err, errVolume) || !strings.Contains(err.Error(), "in use by lease 01") {
		t.Errorf("two leases had one volume: %v", err)
	}
	other, err := attic.open(t.Context(), attic.lease(3, "bob", data))
	if err != nil || other[0].File == got[0].File {
		t.Errorf("bob got %v, %v", other, err)
	}
	if _, err := attic.open(t.Context(), attic.lease(4, "cy", data)); !errors.Is(err, compute.ErrUnavailable) {
		t.Errorf("more than the owner set aside was given: %v", err)
	}
	attic.sweep(t.Context(), time.Now().Add(1000*time.Hour)) // what a lease has is never swept
	first.letGo(t.Context())
	delete(attic.d.byID, first.row.ID)
	again, err := attic.open(t.Context(), attic.lease(5, "ann", data))
	if err != nil || again[0].File != got[0].File {
		t.Fatalf("ann's next lease got %v, %v", again, err)
	}
	larger := data
	larger.Bytes = 50 << 20
	if _, err := attic.open(t.Context(), attic.lease(6, "ann", larger)); !errors.Is(err, errVolume) || !strings.Contains(err.Error(), "not supported yet") {
		t.Errorf("a larger one: %v", err)
	}
	// After a kill: no lease is live, so the time of keeping begins; then it ends.
	if err := os.WriteFile(filepath.Join(attic.dir, "nobodys"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := attic.reconcile(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(attic.dir, "nobodys")); err == nil {
		t.Error("a file without a row was left")
	}
	attic.sweep(t.Context(), time.Now())
	if _, err := os.Stat(got[0].File); err != nil {
		t.Errorf("deleted before its time: %v", err)
	}
	attic.sweep(t.Context(), time.Now().Add(2*time.Minute))
	if left, err := os.ReadDir(attic.dir); err != nil || len(left) > 0 {
		t.Errorf("left after their time: %v, %v", left, err)
	}
	keeper.full = true
	if _, err := attic.open(t.Context(), attic.lease(7, "ann", data)); !errors.Is(err, compute.ErrUnavailable) {
		t.Errorf("a full disk: %v", err)
	}
	if rows, err := attic.d.journal.Volumes(t.Context()); err != nil || len(rows) > 0 {
		t.Errorf("rows of what was never made: %v, %v", rows, err)
	}
}

// TestAtticAccess: only the last order's receipt key gives access, and a stranger
// learns nothing.
func TestAtticAccess(t *testing.T) {
	attic, _ := newAttic(t)
	key, err := wire.NewEd25519Signer([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	a := attic.lease(1, "ann", manifest.Volume{Name: "data", Path: "/data", Bytes: 40 << 20, KeepMS: 60_000})
	a.order.Terms.ReceiptKey = key.PublicKey()
	if _, err := attic.open(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	ask := func(signer wire.Signer, from peer.ID, op p2p.VolumeOp) (p2p.VolumeReply, func(io.Writer) error) {
		access, err := wire.Seal(wire.Access{Version: wire.Version1, ChainID: testChain, OrderHash: a.row.OrderHash[:], Peer: []byte("me"),
			ExpiresAt: time.Now().Add(time.Hour).UnixMilli()}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return attic.serve(t.Context(), from, p2p.VolumeRequest{Order: a.row.OrderHash[:], Access: access.Bytes(), Name: "data", Op: op})
	}
	stranger, err := wire.NewEd25519Signer([]byte(strings.Repeat("s", 32)))
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := ask(stranger, "me", p2p.VolumeInfo); r.Refusal == nil || !strings.Contains(r.Refusal.Hint, "no volume") {
		t.Errorf("a stranger was told %+v", r)
	}
	if r, _ := ask(key, "another", p2p.VolumeInfo); r.Refusal == nil {
		t.Error("an access was used by another peer")
	}
	for _, op := range []p2p.VolumeOp{p2p.VolumeExport, p2p.VolumeRemove} {
		if r, _ := ask(key, "me", op); r.Refusal == nil || !strings.Contains(r.Refusal.Hint, "in use") {
			t.Errorf("operation %d during a lease: %+v", op, r)
		}
	}
	a.letGo(t.Context())
	delete(attic.d.byID, a.row.ID)
	r, write := ask(key, "me", p2p.VolumeExport)
	var b strings.Builder
	if r.Refusal != nil || r.Bytes != 40<<20 || write == nil || write(&b) != nil || b.String() != "new" {
		t.Errorf("export: %+v, %q", r, b.String())
	}
	if r, _ := ask(key, "me", p2p.VolumeRemove); r.Refusal != nil {
		t.Errorf("removal: %+v", r.Refusal)
	}
	if r, _ := ask(key, "me", p2p.VolumeInfo); r.Refusal == nil {
		t.Error("it is still there")
	}
}
