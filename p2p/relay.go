package p2p

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	ma "github.com/multiformats/go-multiaddr"
)

// RelayLimits bound what a host carries for others.
type RelayLimits struct {
	Reservations int           // machines that may be reached through this host; zero means 256
	PerIP        int           // of them behind one address, as with carrier NAT; zero means 32
	Circuits     int           // connections carried at once for each machine; zero means 64
	CircuitBytes int64         // of one connection and direction; zero means 1 GiB
	CircuitTime  time.Duration // of one connection; zero means 2 h
}

// EnsureDefaults fills what was left zero.
func (l *RelayLimits) EnsureDefaults() {
	setDefault(&l.Reservations, 256)
	setDefault(&l.PerIP, 32)
	setDefault(&l.Circuits, 64)
	setDefault(&l.CircuitBytes, 1<<30)
	setDefault(&l.CircuitTime, 2*time.Hour)
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
	}
	return nil
}

// service makes a host a relay.
func (l *RelayLimits) service(carried *carried) []libp2p.Option {
	return []libp2p.Option{
		libp2p.ForceReachabilityPublic(), // whoever makes it a relay says so
		libp2p.EnableRelayService(relay.WithResources(l.resources()), relay.WithMetricsTracer(carried),
			// A relay inside a private network is of use there.
			relay.WithReservationAddressFilter(func(ma.Multiaddr) bool { return true })),
	}
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
