package discovery

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"

	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/p2p/p2ptest"
	"github.com/moyai-network/moyai/wire"
)

func sealed(t *testing.T, chainID string, key p2p.Key, node []byte, sequence uint64) []byte {
	t.Helper()
	s, err := wire.NewEd25519Signer(key.Seed())
	if err != nil {
		t.Fatal(err)
	}
	r, err := wire.Seal(wire.NodeRecord{
		Version: wire.Version1, ChainID: chainID, Provider: make([]byte, 20), Node: node, Sequence: sequence,
		Addresses: []string{"/ip4/127.0.0.1/tcp/1"},
	}, s)
	if err != nil {
		t.Fatal(err)
	}
	return r.Bytes()
}

func newKey(t *testing.T) p2p.Key {
	t.Helper()
	key, err := p2p.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestRecords: only what the node itself has signed for this chain counts, and the
// newest of it wins whatever the order.
func TestRecords(t *testing.T) {
	key, thief := newKey(t), newKey(t)
	node := key.Public()
	good := sealed(t, "c-1", key, node, 5)
	old := sealed(t, "c-1", key, node, 4)
	at := nodeKey("c-1", node)
	for name, c := range map[string]struct {
		key   string
		value []byte
		ok    bool
	}{
		"good":                  {at, good, true},
		"another chain's":       {nodeKey("c-2", node), good, false},
		"under another's key":   {nodeKey("c-1", thief.Public()), good, false},
		"signed by a thief":     {at, sealed(t, "c-1", thief, node, 9), false},
		"cut":                   {at, good[:len(good)-1], false},
		"empty":                 {at, nil, false},
		"too large":             {at, bytes.Repeat([]byte{0x82}, wire.KindNodeRecord.MaxSigned()+1), false},
		"upper case":            {"/" + nodeSpace + "/c-1/" + fmt.Sprintf("%X", node), good, false},
		"no chain":              {nodeKey("", node), good, false},
		"another kind of key":   {"/pk/" + string(node), good, false},
		"nothing but the space": {"/" + nodeSpace + "/", good, false},
	} {
		if err := (nodeValidator{}).Validate(c.key, c.value); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, values := range [][][]byte{{good, old}, {old, good}, {[]byte("junk"), old, good}} {
		i, err := nodeValidator{}.Select(at, values)
		if err != nil || !bytes.Equal(values[i], good) {
			t.Errorf("selected %d: %v", i, err)
		}
	}
	if _, err := (nodeValidator{}).Select(at, [][]byte{[]byte("junk")}); err == nil {
		t.Error("junk was selected")
	}
}

func content(t *testing.T) cid.Cid {
	t.Helper()
	hash, err := multihash.Sum([]byte("a tenant's file"), multihash.SHA2_256, -1)
	if err != nil {
		t.Fatal(err)
	}
	return cid.NewCidV1(cid.Raw, hash)
}

func TestRoleKeys(t *testing.T) {
	for _, c := range []struct {
		key  []byte
		want bool
	}{
		{roleKey(Relay, "eu").Hash(), true},
		{roleKey(Provider, "").Hash(), true},
		{roleKey("miner", "eu").Hash(), false},
		{roleKey(Relay, "e u").Hash(), false},
		{roleKey(Relay, string(bytes.Repeat([]byte("x"), maxRegion+1))).Hash(), false},
		{content(t).Hash(), false},
		{[]byte("junk"), false},
		{nil, false},
	} {
		if got := isRoleKey(c.key); got != c.want {
			t.Errorf("%x: %v", c.key, got)
		}
	}
}

// TestContentIsRefused: a member that announces content is struck, kept out, and
// what it announced is kept by nobody.
func TestContentIsRefused(t *testing.T) {
	h := p2ptest.NewHost(t)
	f, err := Join(h, Config{Mode: Answer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	stranger := p2ptest.NewHost(t)
	theirs, err := dht.New(stranger.Host, dht.ProtocolPrefix(p2p.DHTPrefix), dht.Mode(dht.ModeServer))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = theirs.Close() })
	p2ptest.Connect(t, stranger, h)
	ctx := p2ptest.Context(t)
	for !h.Banned(stranger.ID()) {
		if ctx.Err() != nil {
			t.Fatal("who announces content is not struck")
		}
		try, cancel := context.WithTimeout(ctx, time.Second)
		_ = theirs.Provide(try, content(t), true)
		cancel()
	}
	kept, err := f.dht.ProviderStore().GetProviders(ctx, content(t).Hash())
	if err != nil || len(kept) > 0 {
		t.Errorf("kept %v, %v", kept, err)
	}
}

// TestLongMessage: who announces a message longer than allowed is cut off at its
// length.
func TestLongMessage(t *testing.T) {
	h := p2ptest.NewHost(t)
	f, err := Join(h, Config{Mode: Answer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	stranger := p2ptest.NewHost(t)
	p2ptest.Connect(t, stranger, h)
	s, err := stranger.NewStream(p2ptest.Context(t), h.ID(), p2p.DHTProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	if _, err := s.Write(binary.AppendUvarint(nil, maxQuestion+1)); err != nil {
		t.Fatal(err)
	}
	_ = s.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("an answer to a message that is too long")
	}
}

type oneByOne struct {
	network.Stream
	data []byte
}

func (o *oneByOne) Reset() error { return nil }
func (o *oneByOne) Read(p []byte) (int, error) {
	if len(o.data) == 0 {
		return 0, io.EOF
	}
	p[0], o.data = o.data[0], o.data[1:]
	return 1, nil
}

func TestBounded(t *testing.T) {
	message := func(n int) []byte { return append(binary.AppendUvarint(nil, uint64(n)), make([]byte, n)...) }
	for name, c := range map[string]struct {
		data []byte
		ok   bool
	}{
		"two":        {append(message(100), message(200)...), true},
		"empty ones": {[]byte{0, 0, 0}, true},
		"too long":   {append(message(10), binary.AppendUvarint(nil, 201)...), false},
		"endless":    {bytes.Repeat([]byte{0x80}, 9), false},
	} {
		if ok := (&bounded{most: 200}).within(c.data); ok != c.ok {
			t.Errorf("%s in one piece: %v", name, ok)
		}
		_, err := io.Copy(io.Discard, &bounded{Stream: &oneByOne{data: c.data}, most: 200})
		if (err == nil) != c.ok {
			t.Errorf("%s byte by byte: %v", name, err)
		}
	}
}

// TestStoreIsBounded: a flood displaces what is oldest and takes no more memory.
func TestStoreIsBounded(t *testing.T) {
	ctx := t.Context()
	s := newStore(10)
	for i := range 100 {
		if err := s.Put(ctx, ds.NewKey(fmt.Sprintf("/%s/%d", nodeSpace, i)), []byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := s.Get(ctx, ds.NewKey("/"+nodeSpace+"/99")); err != nil || v[0] != 99 {
		t.Errorf("the newest: %v, %v", v, err)
	}
	if _, err := s.Get(ctx, ds.NewKey("/"+nodeSpace+"/0")); !errors.Is(err, ds.ErrNotFound) {
		t.Errorf("the oldest: %v", err)
	}
	res, err := s.Query(ctx, query.Query{Prefix: "/" + nodeSpace, KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	all, err := res.Rest()
	if err != nil || len(all) != 10 || len(s.keys) > 21 {
		t.Errorf("%d entries, %d keys, %v", len(all), len(s.keys), err)
	}
	if err := s.Delete(ctx, ds.NewKey("/"+nodeSpace+"/99")); err != nil {
		t.Fatal(err)
	}
	if has, _ := s.Has(ctx, ds.NewKey("/"+nodeSpace+"/99")); has {
		t.Error("deleted and still there")
	}
}

// TestBelievable: on a public network a stranger's private addresses are not
// dialled.
func TestBelievable(t *testing.T) {
	f := &Finder{}
	addrs := []ma.Multiaddr{ma.StringCast("/ip4/192.168.1.1/tcp/80"), ma.StringCast("/ip4/127.0.0.1/tcp/80"), ma.StringCast("/ip4/5.5.0.1/tcp/80")}
	f.nearby.Store(!anyPublic([]peer.AddrInfo{{Addrs: addrs}}))
	if got := f.believable(addrs); len(got) != 1 || !got[0].Equal(addrs[2]) {
		t.Errorf("on a public network: %v", got)
	}
	f.nearby.Store(!anyPublic([]peer.AddrInfo{{Addrs: addrs[:2]}}))
	if got := f.believable(addrs); len(got) != 3 {
		t.Errorf("on a private network: %v", got)
	}
	many := make([]ma.Multiaddr, 100)
	for i := range many {
		many[i] = ma.StringCast(fmt.Sprintf("/ip4/5.5.0.1/tcp/%d", i+1))
	}
	if got := f.believable(many); len(got) != p2p.MaxAddrs {
		t.Errorf("%d of many", len(got))
	}
}
