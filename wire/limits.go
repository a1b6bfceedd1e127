package wire

// Bounds of the fields, in bytes unless said otherwise. They are part of the
// protocol: docs/spec/lease.md repeats them and a test compares.
const (
	MaxChainID     = 48
	MaxIdentifier  = 64 // service kinds, dimensions, attributes
	MaxDenom       = 128
	MaxValue       = 128 // a constraint's value
	MaxRegion      = 32
	MaxPeer        = 64
	MaxAddress     = 256
	MaxQuantities  = 16 // entries, in an order and in a receipt
	MaxConstraints = 16 // entries
	MaxAddresses   = 16 // entries
	MaxCopies      = 16 // of redundant(q)

	// MaxCarried bounds what a relay can have carried, in bytes: 1 EiB.
	MaxCarried = 1 << 60

	// MaxMS bounds every duration, counter and time in milliseconds: about
	// 8,900 years, so that sums of a few of them never overflow anywhere.
	MaxMS = 1 << 48

	NonceSize  = 16 // also the length of a job id
	DigestSize = 32
	KeySize    = 32 // an ed25519 public key
)

// MaxSignatures is how many signatures an envelope of this kind may carry: two
// for a receipt (node and receipt key) and a node record (node, and the
// operator's consent), one for everything else.
func (k Kind) MaxSignatures() int {
	switch k {
	case KindReceipt, KindNodeRecord:
		return 2
	default:
		return 1
	}
}

// MaxBody is the greatest length of a body of this kind in bytes.
func (k Kind) MaxBody() int {
	switch k {
	case KindOrder, KindNodeRecord:
		return 8192
	case KindReceipt:
		return 2048
	default:
		return 1024
	}
}

// MaxSigned is the greatest length of an envelope of this kind in bytes.
func (k Kind) MaxSigned() int {
	return 1 + 3 + k.MaxBody() + 1 + k.MaxSignatures()*maxSignatureEntry
}

// maxSignatureEntry: array head, algorithm, key of up to 33 bytes and signature
// of 64, each of the two with a head of two bytes.
const maxSignatureEntry = 1 + 1 + 2 + 33 + 2 + 64
