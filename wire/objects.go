package wire

import "github.com/moyai-network/moyai/mechanism/amount"

// Order is a payer's signed wish to rent: what, how much of it, under which
// terms. It proves origin and cannot spend: only MsgOpenLeases, signed by the
// payer in a transaction, moves money.
type Order struct {
	Version     uint64       `cbor:"1,keyasint"` // Version1
	ChainID     string       `cbor:"2,keyasint"` // ≤ MaxChainID bytes
	Payer       []byte       `cbor:"3,keyasint"` // account address, 20 or 32 bytes
	Kind        string       `cbor:"4,keyasint"` // governed service kind, e.g. "compute"
	KindVersion uint64       `cbor:"5,keyasint"`
	Nonce       []byte       `cbor:"6,keyasint"`  // 16 random bytes: two orders never share a hash
	JobID       []byte       `cbor:"7,keyasint"`  // 16 bytes, shared by the orders of one array job
	Quantities  []Quantity   `cbor:"8,keyasint"`  // sorted by Dimension, strictly increasing, ≤ MaxQuantities
	Constraints []Constraint `cbor:"9,keyasint"`  // sorted by (Attribute, Op, Value), strictly increasing, ≤ MaxConstraints
	SpecHash    []byte       `cbor:"10,keyasint"` // SHA-256 of the manifest's bytes
	Terms       Terms        `cbor:"11,keyasint"`
}

// Quantity asks for Amount units of one governed dimension ("cpu.milli",
// "memory.bytes", …).
type Quantity struct {
	_         struct{} `cbor:",toarray"`
	Dimension string
	Amount    uint64
}

// Constraint restricts an attribute of the offer.
type Constraint struct {
	_         struct{} `cbor:",toarray"`
	Attribute string
	Op        string // "=", "!=", ">=", "<="; the last two compare unsigned integers
	Value     string
}

// Terms are the commercial half of an order.
type Terms struct {
	Denom        string        `cbor:"1,keyasint"`
	MaxRate      amount.Rate   `cbor:"2,keyasint"`  // ceiling for Bid.Rate, 10⁻¹² base units per second
	TimeoutMS    uint64        `cbor:"3,keyasint"`  // the lease's longest billed time
	MaxGraceMS   uint64        `cbor:"4,keyasint"`  // ceiling for Bid.GraceMS
	MaxUnackedMS uint64        `cbor:"5,keyasint"`  // what a provider risks: it may stop when receipts lag by this
	MinBond      amount.Amount `cbor:"6,keyasint"`  // bond locked for this lease; may be zero
	ReceiptKey   []byte        `cbor:"7,keyasint"`  // ed25519 public key, fresh for this order
	OfflineMax   amount.Amount `cbor:"8,keyasint"`  // LEASE.md "Away": the sum a provider may meter alone; zero = none
	Verify       Verify        `cbor:"9,keyasint"`  // only VerifyNone is accepted today
	Priority     uint64        `cbor:"10,keyasint"` // reserved, must be 0
	Failover     uint64        `cbor:"11,keyasint"` // reserved: number of standbys, must be 0
	StandbyRate  amount.Rate   `cbor:"12,keyasint"` // reserved, must be 0
	MaxPenalty   amount.Amount `cbor:"13,keyasint"` // reserved, must be 0
	ExpiresAt    int64         `cbor:"14,keyasint"` // unix milliseconds of block time
}

// Verify names how the work will be checked.
type Verify struct {
	Policy string `cbor:"1,keyasint"` // "none" | "replay" | "redundant" | "sample" | "probe"
	Bps    uint64 `cbor:"2,keyasint"` // probability in basis points, 0 for none
	Copies uint64 `cbor:"3,keyasint"` // q of redundant(q), 0 otherwise
}

// Bid is a provider's firm offer for one order, signed by its node key. It
// names (Slot, Generation): the chain opens at most one lease on each pair, so
// the same slot may be bid to many tenants at once.
type Bid struct {
	Version     uint64        `cbor:"1,keyasint"`
	ChainID     string        `cbor:"2,keyasint"`
	OrderHash   []byte        `cbor:"3,keyasint"` // 32 bytes
	Payer       []byte        `cbor:"4,keyasint"`
	Provider    []byte        `cbor:"5,keyasint"` // operator account address
	Node        []byte        `cbor:"6,keyasint"` // ed25519 public key that signs
	Slot        uint32        `cbor:"7,keyasint"`
	Generation  uint64        `cbor:"8,keyasint"` // must exceed the slot's last on chain
	Rate        amount.Rate   `cbor:"9,keyasint"`
	Denom       string        `cbor:"10,keyasint"`
	GraceMS     uint64        `cbor:"11,keyasint"` // loading time before Start, never billed
	NoticeMS    uint64        `cbor:"12,keyasint"` // warning given before the provider stops early
	Penalty     amount.Amount `cbor:"13,keyasint"` // reserved, must be 0
	StandbyRate amount.Rate   `cbor:"14,keyasint"` // reserved, must be 0
	ExpiresAt   int64         `cbor:"15,keyasint"` // unix ms of block time, at most 30 s ahead
}

// Ready is the node's word that it has seen the manifest it must run.
type Ready struct {
	Version  uint64 `cbor:"1,keyasint"`
	ChainID  string `cbor:"2,keyasint"`
	BidHash  []byte `cbor:"3,keyasint"`
	Manifest []byte `cbor:"4,keyasint"` // equals Order.SpecHash
}

// Receipt is a cumulative counter, signed by the node and countersigned by the
// order's receipt key. Sequence 0 with ElapsedMS 0 is the start receipt:
// nothing is owed before it is countersigned.
type Receipt struct {
	Version   uint64     `cbor:"1,keyasint"`
	ChainID   string     `cbor:"2,keyasint"`
	LeaseID   []byte     `cbor:"3,keyasint"` // 20 bytes
	Sequence  uint64     `cbor:"4,keyasint"`
	ElapsedMS uint64     `cbor:"5,keyasint"` // provider's monotonic clock since Start
	Counters  []Quantity `cbor:"6,keyasint"` // informational: "tasks", "steps", "bytes.out"; sorted
	Final     bool       `cbor:"7,keyasint"`
	Reason    uint64     `cbor:"8,keyasint"` // mechanism/lease.Reason, 0 unless Final
	Outputs   []byte     `cbor:"9,keyasint"` // 32-byte hash of the outputs if Final, else empty
}

// Claim is a provider's one-sided statement of the tail after the last
// countersigned receipt, shown in the first half of the window.
type Claim struct {
	Version   uint64 `cbor:"1,keyasint"`
	ChainID   string `cbor:"2,keyasint"`
	LeaseID   []byte `cbor:"3,keyasint"`
	ElapsedMS uint64 `cbor:"4,keyasint"`
}

// Contest is the receipt key's refusal of a claimed tail: it grants ElapsedMS
// and no more. ElapsedMS may not be below what was countersigned.
type Contest struct {
	Version   uint64 `cbor:"1,keyasint"`
	ChainID   string `cbor:"2,keyasint"`
	LeaseID   []byte `cbor:"3,keyasint"`
	ElapsedMS uint64 `cbor:"4,keyasint"`
}

// Away is the receipt key's advance countersignature: provider-only receipts
// of this lease count as acknowledged up to UntilMS. A detaching client signs
// one for the rest of the hold.
type Away struct {
	Version uint64 `cbor:"1,keyasint"`
	ChainID string `cbor:"2,keyasint"`
	LeaseID []byte `cbor:"3,keyasint"`
	UntilMS uint64 `cbor:"4,keyasint"`
}

// Access lets one libp2p peer speak for an order's receipt key (streams, logs,
// inputs, results) until ExpiresAt. It is how a key is delegated to a gateway.
type Access struct {
	Version   uint64 `cbor:"1,keyasint"`
	ChainID   string `cbor:"2,keyasint"`
	OrderHash []byte `cbor:"3,keyasint"`
	Peer      []byte `cbor:"4,keyasint"` // libp2p peer id bytes
	ExpiresAt int64  `cbor:"5,keyasint"` // unix ms
}

// NodeRecord is a machine's self-signed statement of whom it works for and
// where it can be reached; registering a node needs one (proof of possession).
// Signed by its operator's account as well, it lets a first lease register both.
type NodeRecord struct {
	Version   uint64   `cbor:"1,keyasint"`
	ChainID   string   `cbor:"2,keyasint"`
	Provider  []byte   `cbor:"3,keyasint"`
	Node      []byte   `cbor:"4,keyasint"` // ed25519 public key
	Sequence  uint64   `cbor:"5,keyasint"` // must grow; unix ms serves
	Addresses []string `cbor:"6,keyasint"` // multiaddrs, ≤ 16, each ≤ 256 bytes
	Region    string   `cbor:"7,keyasint"` // "" or a short name such as "eu"
}

// RelayReceipt is a machine's acknowledgement of what a relay has carried for it
// in all: of its own connections only, in both directions. The highest sequence
// counts. Nothing pays for it yet; a relay may refuse machines that do not sign.
type RelayReceipt struct {
	Version  uint64 `cbor:"1,keyasint"`
	ChainID  string `cbor:"2,keyasint"` // the chain on which Node is a machine
	Relay    []byte `cbor:"3,keyasint"` // ed25519 public key of the relay
	Node     []byte `cbor:"4,keyasint"` // ed25519 public key of the machine, which signs
	Sequence uint64 `cbor:"5,keyasint"` // one more than that of the receipt before
	Bytes    uint64 `cbor:"6,keyasint"` // cumulative, never less than before
}

func (Order) kind() Kind        { return KindOrder }
func (Bid) kind() Kind          { return KindBid }
func (Ready) kind() Kind        { return KindReady }
func (Receipt) kind() Kind      { return KindReceipt }
func (Claim) kind() Kind        { return KindClaim }
func (Contest) kind() Kind      { return KindContest }
func (Away) kind() Kind         { return KindAway }
func (Access) kind() Kind       { return KindAccess }
func (NodeRecord) kind() Kind   { return KindNodeRecord }
func (RelayReceipt) kind() Kind { return KindRelayReceipt }

func (o Order) chain() string        { return o.ChainID }
func (b Bid) chain() string          { return b.ChainID }
func (r Ready) chain() string        { return r.ChainID }
func (r Receipt) chain() string      { return r.ChainID }
func (c Claim) chain() string        { return c.ChainID }
func (c Contest) chain() string      { return c.ChainID }
func (a Away) chain() string         { return a.ChainID }
func (a Access) chain() string       { return a.ChainID }
func (n NodeRecord) chain() string   { return n.ChainID }
func (r RelayReceipt) chain() string { return r.ChainID }
