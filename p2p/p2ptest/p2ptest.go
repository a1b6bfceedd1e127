// Package p2ptest starts hosts on free loopback ports for tests of the packages
// that speak libp2p. It is not for programs.
package p2ptest

import (
	"context"
	"testing"
	"time"

	"github.com/moyai-network/moyai/p2p"
)

// NewHost starts a host with a fresh key on free loopback ports, QUIC and TCP, and
// closes it with the test. configure may change the configuration first.
func NewHost(t testing.TB, configure ...func(*p2p.Config)) *p2p.Host {
	t.Helper()
	key, err := p2p.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cfg := p2p.Config{Key: key, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}}
	for _, f := range configure {
		f(&cfg)
	}
	h, err := p2p.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// Connect connects from to to and fails the test if that does not work.
func Connect(t testing.TB, from, to *p2p.Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := from.Connect(ctx, to.AddrInfo()); err != nil {
		t.Fatal(err)
	}
}

// Context returns a context that ends with the test, or after a minute so that a
// test that hangs says where.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
