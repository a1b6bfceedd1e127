package p2p

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/moyai-network/moyai/p2p/limit"
)

// VolumeProtocol asks a provider for a volume that it keeps. It is apart from the
// lease's own protocol, since a volume outlives its lease.
const VolumeProtocol protocol.ID = "/moyai/volume/1"

const (
	maxVolumeRequest = MaxSigned + 1<<10
	maxVolumeReply   = 4 << 10
	// volumeStall is how long either side of an export may do nothing: a mount may
	// have a journal to play back first.
	volumeStall = time.Minute
)

// VolumeRate is how often one peer may ask.
var VolumeRate = limit.Rate{PerSecond: 2, Burst: 20}

// VolumeOp is what is to be done.
type VolumeOp uint64

// The operations.
const (
	VolumeInfo   VolumeOp = iota + 1 // say how large it is and how long it is kept
	VolumeExport                     // the reply is followed by a tar, until the stream's end
	VolumeRemove                     // delete it now
)

// VolumeRequest is a tenant's wish. The order is the last one that had the
// volume; its receipt key gives access.
type VolumeRequest struct {
	Order  []byte   `cbor:"1,keyasint"` // hash, 32 bytes
	Access []byte   `cbor:"2,keyasint"` // signed wire.Access for the order, naming this peer
	Name   string   `cbor:"3,keyasint"`
	Op     VolumeOp `cbor:"4,keyasint"`
}

// Validate implements Message.
func (r *VolumeRequest) Validate() error {
	if r.Op < VolumeInfo || r.Op > VolumeRemove {
		return fmt.Errorf("unknown volume operation %d", r.Op)
	}
	return firstError(size("order", r.Order, hashLen, hashLen), size("access", r.Access, 1, MaxSigned), text("volume", r.Name, MaxID))
}

// VolumeReply is the answer.
type VolumeReply struct {
	Refusal     *Refusal `cbor:"1,keyasint,omitempty"`
	Bytes       uint64   `cbor:"2,keyasint,omitempty"`
	KeepUntilMS int64    `cbor:"3,keyasint,omitempty"` // unix ms; 0 while a lease has it
}

// Validate implements Message.
func (r *VolumeReply) Validate() error {
	if r.Refusal != nil {
		return r.Refusal.Validate()
	}
	return nil
}

// Volume asks a provider. For VolumeExport, and no other, what follows can be
// read from the reader; it must be closed. Errors: ctx's, a *RefusedError, the
// network's.
func (h *Host) Volume(ctx context.Context, provider peer.AddrInfo, req VolumeRequest) (VolumeReply, io.ReadCloser, error) {
	s, err := h.OpenStream(ctx, provider, VolumeProtocol)
	if err != nil {
		return VolumeReply{}, nil, err
	}
	stop := s.closeOn(ctx)
	fail := func(err error) (VolumeReply, io.ReadCloser, error) {
		stop()
		s.Reset()
		return VolumeReply{}, nil, contextFirst(ctx, err)
	}
	if err := s.Send(maxVolumeRequest, &req); err != nil {
		return fail(err)
	}
	var reply VolumeReply
	if err := s.Recv(maxVolumeReply, volumeStall, &reply); err != nil {
		return fail(err)
	}
	if reply.Refusal != nil {
		return fail(&RefusedError{s.Peer(), *reply.Refusal})
	}
	if req.Op != VolumeExport {
		stop()
		_ = s.Close()
		return reply, nil, nil
	}
	return reply, &export{s, stop}, nil
}

// export reads what follows a reply.
type export struct {
	s    *Stream
	stop func() bool
}

// Read implements io.Reader.
func (e *export) Read(p []byte) (int, error) {
	_ = e.s.Raw().SetReadDeadline(time.Now().Add(volumeStall))
	return e.s.Reader().Read(p)
}

// Close implements io.Closer.
func (e *export) Close() error {
	e.stop()
	e.s.Reset()
	return nil
}

// HandleVolumes answers requests with fn, which verifies Access. What it returns
// as export, if the request wants one, is called with where to write; its error
// breaks the stream, so that the tenant does not take half for the whole.
func (h *Host) HandleVolumes(fn func(ctx context.Context, from peer.ID, req VolumeRequest) (VolumeReply, func(io.Writer) error)) (remove func()) {
	rate := limit.New[peer.ID](VolumeRate, maxTrackedPeers, nil)
	return h.Handle(VolumeProtocol, func(ctx context.Context, s *Stream) {
		var req VolumeRequest
		if err := s.Recv(maxVolumeRequest, h.patience, &req); err != nil {
			s.Reset()
			return
		}
		reply := VolumeReply{Refusal: &Refusal{Subject: "requests", Hint: "too many asked for: wait some seconds"}}
		var write func(io.Writer) error
		if rate.Allow(s.Peer()) {
			reply, write = fn(ctx, s.Peer(), req)
		}
		err := s.Send(maxVolumeReply, &reply)
		if err == nil && write != nil && reply.Refusal == nil {
			err = write(stallingWriter{s})
		}
		if err != nil {
			h.log.Debug("volume not delivered", "peer", s.Peer(), "err", err)
			s.Reset()
			return
		}
		_ = s.Close()
	})
}

// stallingWriter gives every write its own deadline.
type stallingWriter struct{ s *Stream }

// Write implements io.Writer.
func (w stallingWriter) Write(p []byte) (int, error) {
	_ = w.s.Raw().SetWriteDeadline(time.Now().Add(volumeStall))
	return w.s.Raw().Write(p)
}
