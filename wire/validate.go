package wire

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Operators of a Constraint.
const (
	OpEqual    = "="
	OpNotEqual = "!="
	OpAtLeast  = ">="
	OpAtMost   = "<="
)

// Policies of Verify.
const (
	VerifyNone      = "none"
	VerifyReplay    = "replay"
	VerifyRedundant = "redundant"
	VerifySample    = "sample"
	VerifyProbe     = "probe"
)

const maxBps = 10_000

// Validate implements Object.
func (o Order) Validate() error {
	return firstError(
		head(o.Version, o.ChainID),
		address("payer", o.Payer),
		identifier("kind", o.Kind),
		atLeast("kind version", o.KindVersion, 1),
		size("nonce", o.Nonce, NonceSize),
		size("job id", o.JobID, NonceSize),
		atLeast("number of quantities", uint64(len(o.Quantities)), 1),
		quantities("quantities", o.Quantities, 1),
		constraints(o.Constraints),
		size("spec hash", o.SpecHash, DigestSize),
		o.Terms.validate(),
	)
}

func (t Terms) validate() error {
	return firstError(
		denomination(t.Denom),
		atLeast("timeout", t.TimeoutMS, 1),
		milliseconds("timeout", t.TimeoutMS),
		milliseconds("max grace", t.MaxGraceMS),
		atLeast("max unacked", t.MaxUnackedMS, 1),
		milliseconds("max unacked", t.MaxUnackedMS),
		size("receipt key", t.ReceiptKey, KeySize),
		t.Verify.validate(),
		instant("expires at", t.ExpiresAt),
	)
}

// validate checks shape only: that nothing but "none" is accepted today is a
// rule of mechanism/lease, which refuses the others by name.
func (v Verify) validate() error {
	if v.Bps > maxBps {
		return invalid("verify bps %d is above %d", v.Bps, maxBps)
	}
	switch v.Policy {
	case VerifyNone:
		if v.Bps != 0 || v.Copies != 0 {
			return invalid("verify none takes no probability and no copies")
		}
	case VerifyRedundant:
		if v.Bps != 0 || v.Copies < 2 || v.Copies > MaxCopies {
			return invalid("verify redundant takes 2 to %d copies and no probability", MaxCopies)
		}
	case VerifyReplay, VerifySample, VerifyProbe:
		if v.Copies != 0 {
			return invalid("verify %s takes no copies", v.Policy)
		}
	default:
		return invalid("verify policy %q is unknown", clip(v.Policy))
	}
	return nil
}

// Validate implements Object.
func (b Bid) Validate() error {
	return firstError(
		head(b.Version, b.ChainID),
		size("order hash", b.OrderHash, DigestSize),
		address("payer", b.Payer),
		address("provider", b.Provider),
		size("node", b.Node, KeySize),
		atLeast("generation", b.Generation, 1),
		denomination(b.Denom),
		milliseconds("grace", b.GraceMS),
		milliseconds("notice", b.NoticeMS),
		instant("expires at", b.ExpiresAt),
	)
}

// Validate implements Object.
func (r Ready) Validate() error {
	return firstError(
		head(r.Version, r.ChainID),
		size("bid hash", r.BidHash, DigestSize),
		size("manifest", r.Manifest, DigestSize),
	)
}

// Validate implements Object. Whether a counter may follow another is decided
// by mechanism/receipt.
func (r Receipt) Validate() error {
	if err := firstError(
		head(r.Version, r.ChainID),
		size("lease id", r.LeaseID, LeaseIDSize),
		milliseconds("elapsed", r.ElapsedMS),
		quantities("counters", r.Counters, 0),
	); err != nil {
		return err
	}
	if r.Sequence == 0 && r.ElapsedMS != 0 {
		return invalid("receipt 0 is the start and says %d ms where 0 is due", r.ElapsedMS)
	}
	if !r.Final {
		if r.Reason != 0 || len(r.Outputs) != 0 {
			return invalid("only a final receipt has a reason or outputs")
		}
		return nil
	}
	if !knownReason(r.Reason) {
		return invalid("reason %d of a final receipt is unknown", r.Reason)
	}
	if len(r.Outputs) != 0 {
		return size("outputs", r.Outputs, DigestSize)
	}
	return nil
}

// Validate implements Object.
func (c Claim) Validate() error { return counter(c.Version, c.ChainID, c.LeaseID, c.ElapsedMS) }

// Validate implements Object.
func (c Contest) Validate() error { return counter(c.Version, c.ChainID, c.LeaseID, c.ElapsedMS) }

// Validate implements Object.
func (a Away) Validate() error { return counter(a.Version, a.ChainID, a.LeaseID, a.UntilMS) }

// Validate implements Object.
func (a Access) Validate() error {
	return firstError(
		head(a.Version, a.ChainID),
		size("order hash", a.OrderHash, DigestSize),
		between("peer", len(a.Peer), 1, MaxPeer),
		instant("expires at", a.ExpiresAt),
	)
}

// Validate implements Object. Addresses are bounded here and parsed by those
// who dial them.
func (n NodeRecord) Validate() error {
	if err := firstError(
		head(n.Version, n.ChainID),
		address("provider", n.Provider),
		size("node", n.Node, KeySize),
		atLeast("sequence", n.Sequence, 1),
		between("number of addresses", len(n.Addresses), 0, MaxAddresses),
	); err != nil {
		return err
	}
	for i, a := range n.Addresses {
		if err := multiaddress(a); err != nil {
			return err
		}
		if slices.Contains(n.Addresses[:i], a) {
			return invalid("address %q is listed twice", clip(a))
		}
	}
	if n.Region == "" {
		return nil
	}
	if len(n.Region) > MaxRegion {
		return invalid("region of %d bytes where %d are allowed", len(n.Region), MaxRegion)
	}
	return identifier("region", n.Region)
}

// Validate implements Object.
func (r RelayReceipt) Validate() error {
	return firstError(
		head(r.Version, r.ChainID),
		size("relay", r.Relay, KeySize),
		size("node", r.Node, KeySize),
		atLeast("sequence", r.Sequence, 1),
		atMost("bytes", r.Bytes, MaxCarried),
	)
}

func head(version uint64, chainID string) error {
	if version != Version1 {
		return invalid("version %d where %d is known", version, Version1)
	}
	return CheckChainID(chainID)
}

func counter(version uint64, chainID string, leaseID []byte, ms uint64) error {
	return firstError(
		head(version, chainID),
		size("lease id", leaseID, LeaseIDSize),
		milliseconds("counter", ms),
	)
}

// CheckChainID accepts 1 to MaxChainID letters, digits, '.', '_' and '-': no byte
// that could end the field early within a digest.
func CheckChainID(id string) error {
	if err := between("chain id", len(id), 1, MaxChainID); err != nil {
		return err
	}
	for i := range len(id) {
		if c := id[i]; !alphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return invalid("chain id %q has a byte other than letters, digits, '.', '_' and '-'", id)
		}
	}
	return nil
}

// identifier accepts names of governed rows: a lower-case letter, then
// lower-case letters, digits, '.', '_' and '-'.
func identifier(field, s string) error {
	if err := between(field, len(s), 1, MaxIdentifier); err != nil {
		return err
	}
	if s[0] < 'a' || s[0] > 'z' {
		return invalid("%s %q does not begin with a lower-case letter", field, clip(s))
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return invalid("%s %q has a byte other than lower-case letters, digits, '.', '_' and '-'", field, clip(s))
		}
	}
	return nil
}

// denomination follows x/bank: a letter, then 2 to 127 of letters, digits and
// "/:._-".
func denomination(s string) error {
	if err := between("denom", len(s), 3, MaxDenom); err != nil {
		return err
	}
	if c := s[0]; !alphanumeric(c) || c <= '9' {
		return invalid("denom %q does not begin with a letter", clip(s))
	}
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && strings.IndexByte("/:._-", c) < 0 {
			return invalid("denom %q has a byte that no denomination has", clip(s))
		}
	}
	return nil
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// address accepts the two lengths of Cosmos account addresses: 20 bytes for keys
// and 32 for derived accounts.
func address(field string, b []byte) error {
	if len(b) != 20 && len(b) != 32 {
		return invalid("%s of %d bytes where an address has 20 or 32", field, len(b))
	}
	return nil
}

func multiaddress(a string) error {
	if err := between("address", len(a), 2, MaxAddress); err != nil {
		return err
	}
	if a[0] != '/' {
		return invalid("address %q does not begin with '/'", clip(a))
	}
	for i := range len(a) {
		if a[i] <= ' ' || a[i] > '~' {
			return invalid("address %q has a byte that is not printable ascii", clip(a))
		}
	}
	return nil
}

func quantities(field string, qs []Quantity, least uint64) error {
	if err := between(field, len(qs), 0, MaxQuantities); err != nil {
		return err
	}
	for i, q := range qs {
		if err := identifier("dimension", q.Dimension); err != nil {
			return err
		}
		if q.Amount < least {
			return invalid("%s hold %d of %q where %d is the least", field, q.Amount, q.Dimension, least)
		}
		if i > 0 && qs[i-1].Dimension >= q.Dimension {
			return invalid("%s are not sorted and unique: %q before %q", field, qs[i-1].Dimension, q.Dimension)
		}
	}
	return nil
}

func constraints(cs []Constraint) error {
	if err := between("number of constraints", len(cs), 0, MaxConstraints); err != nil {
		return err
	}
	for i, c := range cs {
		if err := c.validate(); err != nil {
			return err
		}
		if i > 0 && CompareConstraints(cs[i-1], c) >= 0 {
			return invalid("constraints are not sorted and unique at %q", c.Attribute)
		}
	}
	return nil
}

// CompareConstraints orders constraints as an order must list them: by
// attribute, then operator, then value, each bytewise.
func CompareConstraints(a, b Constraint) int {
	return cmp.Or(
		strings.Compare(a.Attribute, b.Attribute),
		strings.Compare(a.Op, b.Op),
		strings.Compare(a.Value, b.Value),
	)
}

// CompareQuantities orders quantities as orders and receipts must list them.
func CompareQuantities(a, b Quantity) int { return strings.Compare(a.Dimension, b.Dimension) }

func (c Constraint) validate() error {
	if err := identifier("attribute", c.Attribute); err != nil {
		return err
	}
	if err := between("length of a constraint's value", len(c.Value), 1, MaxValue); err != nil {
		return err
	}
	switch c.Op {
	case OpEqual, OpNotEqual:
		return printable("value of a constraint", c.Value)
	case OpAtLeast, OpAtMost:
		n, err := strconv.ParseUint(c.Value, 10, 64)
		if err != nil || strconv.FormatUint(n, 10) != c.Value {
			return invalid("%s %s compares numbers, and %q is not an unsigned integer", c.Attribute, c.Op, clip(c.Value))
		}
		return nil
	default:
		return invalid("operator %q is none of =, !=, >=, <=", clip(c.Op))
	}
}

// printable keeps control characters and line breaks of strangers out of logs
// and terminals.
func printable(field, s string) error {
	if !utf8.ValidString(s) {
		return invalid("%s is not utf-8", field)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return invalid("%s %q has a character that cannot be printed", field, clip(s))
		}
	}
	return nil
}

func size(field string, b []byte, n int) error {
	if len(b) != n {
		return invalid("%s of %d bytes where %d are due", field, len(b), n)
	}
	return nil
}

func between(field string, n, least, most int) error {
	if n < least || n > most {
		return invalid("%s is %d, outside %d to %d", field, n, least, most)
	}
	return nil
}

func atLeast(field string, n, least uint64) error {
	if n < least {
		return invalid("%s is %d where %d is the least", field, n, least)
	}
	return nil
}

func atMost(field string, v, most uint64) error {
	if v > most {
		return invalid("%s %d is above %d", field, v, most)
	}
	return nil
}

func milliseconds(field string, ms uint64) error {
	if ms > MaxMS {
		return invalid("%s of %d ms is above %d", field, ms, uint64(MaxMS))
	}
	return nil
}

func instant(field string, unixMS int64) error {
	if unixMS < 1 || unixMS > MaxMS {
		return invalid("%s is %d, outside 1 to %d", field, unixMS, int64(MaxMS))
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// firstError: the arguments have all been evaluated; they are cheap, and the
// first tells the most.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// clip keeps a stranger's string from filling an error or a log.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
