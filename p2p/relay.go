package p2p

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
)

// RelayLimits bound what a host carries for others. For whom it carried how much
// is in its books (relaybooks.go), and acknowledged by receipts (relayreceipt.go).
type RelayLimits struct {
	Reservations int           // machines that may be reached through this host; zero means 256
	PerIP        int           // of them behind one address, as with carrier NAT; zero means 32
	Circuits     int           // connections carried at once for each machine; zero means 64
	CircuitBytes int64         // of one connection and direction; zero means 1 GiB
	CircuitTime  time.Duration // of one connection; zero means 2 h
	// Unacknowledged bounds the bytes carried for a machine that signs no receipts;
	// beyond it, it is carried no more. Zero means 256 MiB.
	Unacknowledged int64
}

// EnsureDefaults fills what was left zero.
func (l *RelayLimits) EnsureDefaults() {
	setDefault(&l.Reservations, 256)
	setDefault(&l.PerIP, 32)
	setDefault(&l.Circuits, 64)
	setDefault(&l.CircuitBytes, 1<<30)
	setDefault(&l.CircuitTime, 2*time.Hour)
	setDefault(&l.Unacknowledged, 256<<20)
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Validate reports the first field that makes no sense.
func (l *RelayLimits) Validate() error {
	switch {
	case l.Reservations < 0 || l.PerIP < 0 || l.Circuits < 0:
		return errors.New("a relay's numbers of reservations and circuits must be positive")
	case l.CircuitBytes < 0 || l.CircuitTime < 0:
		return errors.New("a relay's limits of bytes and time must be positive")
	case l.Unacknowledged < 2*receiptEvery:
		return fmt.Errorf("unacknowledged bytes are bounded by %d: at least %d, or machines cannot keep up", l.Unacknowledged, 2*receiptEvery)
	}
	return nil
}

// startRelay makes a host a relay. libp2p would do so by itself only once it
// believes that the host is public, and would not tell whose bytes it carries.
func (h *Host) startRelay(l *RelayLimits) error {
	service, err := relay.New(counting{h.Host, h.books, uint64(l.Unacknowledged)},
		relay.WithResources(l.resources()), relay.WithMetricsTracer(h.carried), relay.WithACL(&acl{h.books, uint64(l.Unacknowledged)}),
		// A relay inside a private network is of use there.
		relay.WithReservationAddressFilter(func(ma.Multiaddr) bool { return true }))
	if err != nil {
		return fmt.Errorf("start relay: %w", err)
	}
	h.relay = service
	h.wg.Go(func() { h.collect(h.ctx, h.books) })
	return nil
}

// acl turns machines away that do not acknowledge what was carried for them.
type acl struct {
	books *RelayBooks
	most  uint64
}

// AllowReserve implements relay.ACLFilter. A place alone carries nothing, and who
// keeps one can be asked for a receipt.
func (*acl) AllowReserve(peer.ID, ma.Multiaddr) bool { return true }

// AllowConnect implements relay.ACLFilter.
func (a *acl) AllowConnect(_ peer.ID, _ ma.Multiaddr, dest peer.ID) bool {
	return a.books.unacknowledged(dest) <= a.most
}

func (l *RelayLimits) resources() relay.Resources {
	r := relay.DefaultResources()
	r.MaxReservations, r.MaxReservationsPerIP, r.MaxReservationsPerASN = l.Reservations, l.PerIP, l.Reservations
	r.MaxCircuits, r.BufferSize = l.Circuits, 16<<10
	r.Limit = &relay.RelayLimit{Duration: l.CircuitTime, Data: l.CircuitBytes}
	return r
}

// RelayUse is what a relay carries.
type RelayUse struct {
	Reservations int64  // machines that can be reached through it now
	Circuits     int64  // connections it carries now
	Bytes        uint64 // carried in all, since the start
}

// RelayUse tells what this host carries for others; zeros if it is no relay.
func (h *Host) RelayUse() RelayUse {
	c := h.carried
	return RelayUse{Reservations: c.reservations.Load(), Circuits: c.circuits.Load(), Bytes: c.bytes.Load()}
}

// carried counts, as the relay's tracer.
type carried struct {
	reservations, circuits atomic.Int64
	bytes                  atomic.Uint64
}

var _ relay.MetricsTracer = (*carried)(nil)

// RelayStatus implements relay.MetricsTracer.
func (*carried) RelayStatus(bool) {}

// ConnectionOpened implements relay.MetricsTracer.
func (c *carried) ConnectionOpened() { c.circuits.Add(1) }

// ConnectionClosed implements relay.MetricsTracer.
func (c *carried) ConnectionClosed(time.Duration) { c.circuits.Add(-1) }

// ConnectionRequestHandled implements relay.MetricsTracer.
func (*carried) ConnectionRequestHandled(pbv2.Status) {}

// ReservationAllowed implements relay.MetricsTracer.
func (c *carried) ReservationAllowed(renewal bool) {
	if !renewal {
		c.reservations.Add(1)
	}
}

// ReservationClosed implements relay.MetricsTracer.
func (c *carried) ReservationClosed(n int) { c.reservations.Add(-int64(n)) }

// ReservationRequestHandled implements relay.MetricsTracer.
func (*carried) ReservationRequestHandled(pbv2.Status) {}

// BytesTransferred implements relay.MetricsTracer.
func (c *carried) BytesTransferred(n int) { c.bytes.Add(uint64(max(n, 0))) }
