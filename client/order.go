package client

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/moyai-network/moyai/client/journal"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire"
)

const (
	// orderLife is how long an order may be answered and opened.
	orderLife = 60 * time.Second
	// accessLife is how long this process may speak for a receipt key: the
	// longest lease and the hour for which results are kept.
	accessLife = 400 * 24 * time.Hour
)

// order is one signed order with the keys that go with it.
type order struct {
	signed wire.Signed[wire.Order]
	key    *wire.Ed25519Signer // receipt key
	seed   []byte
	access []byte // signed wire.Access for this host
	hints  []p2p.Hint
}

func (o *order) hash() []byte { return o.signed.Digest[:] }

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand aborts the program instead
	return b
}

// newOrder writes and signs one order for a job.
func (c *Client) newOrder(jobID []byte, job *Job, p *program, maxLife uint64) (*order, error) {
	seed := random(32)
	key, err := wire.NewEd25519Signer(seed)
	if err != nil {
		return nil, err
	}
	life := orderLife
	if maxLife > 0 {
		life = min(life, time.Duration(maxLife/2)*time.Millisecond)
	}
	body := wire.Order{
		Version: wire.Version1, ChainID: c.chain.ChainID(), Payer: c.sender.Account(),
		Kind: "compute", KindVersion: 1, Nonce: random(wire.NonceSize), JobID: jobID,
		Quantities: job.quantities(p.storage()), Constraints: job.constraints(p.decoded.Runtime), SpecHash: p.specHash[:],
		Terms: wire.Terms{
			Denom: job.MaxPrice.Denom, MaxRate: p.ceiling,
			TimeoutMS: uint64(job.Timeout.Milliseconds()), MaxGraceMS: uint64(job.MaxGrace.Milliseconds()),
			MaxUnackedMS: uint64(job.MaxUnacked.Milliseconds()), MinBond: job.MinBond, ReceiptKey: key.PublicKey(),
			Verify:    wire.Verify{Policy: "none"},
			ExpiresAt: c.chain.Now().Add(life).UnixMilli(),
		},
	}
	signed, err := wire.Seal(body, c.sender.Signer())
	if err != nil {
		return nil, fmt.Errorf("sign order: %w", err)
	}
	o := &order{signed: signed, key: key, seed: seed, hints: p.hints(job)}
	return o, c.grantAccess(o)
}

// grantAccess lets this process's host speak for the order's receipt key.
func (c *Client) grantAccess(o *order) error {
	access, err := wire.Seal(wire.Access{
		Version: wire.Version1, ChainID: c.chain.ChainID(), OrderHash: o.hash(),
		Peer: []byte(c.host.ID()), ExpiresAt: time.Now().Add(accessLife).UnixMilli(),
	}, o.key)
	if err != nil {
		return fmt.Errorf("sign access: %w", err)
	}
	o.access = access.Bytes()
	return nil
}

// reopenOrder makes an order of this home's journal usable by this process.
func (c *Client) reopenOrder(row journal.Lease) (*order, error) {
	signed, err := wire.Open[wire.Order](c.chain.ChainID(), row.SignedOrder)
	if err != nil {
		return nil, fmt.Errorf("journal: order %x: %w", row.OrderHash[:4], err)
	}
	key, err := wire.NewEd25519Signer(row.ReceiptSeed)
	if err != nil {
		return nil, fmt.Errorf("journal: receipt key of order %x: %w", row.OrderHash[:4], err)
	}
	o := &order{signed: signed, key: key, seed: row.ReceiptSeed}
	return o, c.grantAccess(o)
}

// announcement is what gossip carries.
func (c *Client) announcement(o *order) *p2p.Announce {
	addrs := c.host.AddrStrings()
	if len(addrs) > p2p.MaxAddrs {
		addrs = addrs[:p2p.MaxAddrs]
	}
	return &p2p.Announce{Order: o.signed.Bytes(), Peer: []byte(c.host.ID()), Addrs: addrs, Access: o.access, Hints: o.hints}
}

// quantities are what is ordered; storage is only where something is to last.
func (j *Job) quantities(storage uint64) []wire.Quantity {
	var out []wire.Quantity // sorted by dimension
	for _, q := range []wire.Quantity{
		{Dimension: "cpu.milli", Amount: j.CPUMilli}, {Dimension: "egress.bytes", Amount: j.EgressBytes},
		{Dimension: "gpu.any", Amount: j.GPUs}, {Dimension: "gpu.slice", Amount: j.GPUSlices},
		{Dimension: "memory.bytes", Amount: j.MemoryBytes}, {Dimension: "storage.bytes", Amount: storage},
	} {
		if q.Amount > 0 {
			out = append(out, q)
		}
	}
	return out
}

// storage is what a job with volumes takes of a disk, all together; 0 without.
func (p *program) storage() uint64 {
	m := p.decoded
	if len(m.Volumes) == 0 {
		return 0
	}
	return m.ModuleBytes + m.InputBytes() + m.OutputBytesMax + m.LogBytesMax + m.VolumeBytes()
}

// keep is how long the volume kept longest is.
func (j *Job) keep() (most time.Duration) {
	for _, v := range j.Volumes {
		most = max(most, v.Keep)
	}
	return most
}

// constraints are the job's own, and that the provider has what runs its
// program; "" if there is none yet.
func (j *Job) constraints(runtime string) []wire.Constraint {
	out := make([]wire.Constraint, 0, len(j.Constraints)+1)
	if runtime != "" {
		out = append(out, wire.Constraint{Attribute: "runtime", Op: "=", Value: runtime})
	}
	if j.Resolved != nil && j.Resolved.Arch != "" {
		out = append(out, wire.Constraint{Attribute: "arch", Op: "=", Value: j.Resolved.Arch})
	}
	if keep := j.keep(); keep > 0 {
		out = append(out, wire.Constraint{Attribute: "volume.keep.hours", Op: ">=", Value: strconv.FormatInt(int64((keep+time.Hour-1)/time.Hour), 10)})
	}
	for _, c := range j.Constraints {
		out = append(out, wire.Constraint{Attribute: c.Attribute, Op: c.Op, Value: c.Value})
	}
	slices.SortFunc(out, func(a, b wire.Constraint) int {
		return slices.Compare([]string{a.Attribute, a.Op, a.Value}, []string{b.Attribute, b.Op, b.Value})
	})
	return slices.Compact(out)
}
