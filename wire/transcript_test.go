package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/mechanism/amount"
	"github.com/moyai-network/moyai/mechanism/escrow"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// TestTranscripts replays testdata/*.txt: leases from the first byte to the last
// payment. A file is a list of cases: a command, "----", and what came of it, up
// to an empty line; # begins a comment. docs/spec/lease.md says how to read them.
//
// Commands make signed objects, with every key derived from its name, and submit
// their bytes to what the chain would do with them: open the envelope, verify
// who signed, take one step of mechanism/lease.
//
//	order timeout=600s …   bid …   ready …   open
//	receipt NAME at=58s …  claim NAME …  contest NAME …  away NAME …  tamper NAME byte=40
//	advance 10s   submit final|close|receipt|claim|contest NAME by=provider …   expire
//
// Run with -update to rewrite what is below the dashes, then read the diff.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 6 {
		t.Fatalf("transcripts: %d found, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := replay(t, string(want))
			checkGoldenBytes(t, file, []byte(got))
		})
	}
}

// workedExample is the specification's table, written out by hand so that no
// -update can move it.
var workedExample = []struct {
	name, file                                                 string
	locked, gross, provider, burned, pool, refunded, contester uint64
	bountyTo                                                   string
}{
	{"cooperative, 90 s", "cooperative.txt", 3354, 500, 490, 8, 2, 2834, 0, "provider"},
	{"tenant vanished: acked 58, claim 68", "tenant_vanished.txt", 3354, 377, 370, 5, 2, 2957, 0, "provider"},
	{"same, contested at 58", "contested.txt", 3354, 322, 316, 4 + 35, 2, 2957, 20, "provider"},
	{"dry, final at 60", "dry.txt", 354, 333, 327, 4, 2, 1, 0, "provider"},
	{"provider killed at 40, acked 39, tenant closes", "provider_killed.txt", 3354, 216, 212, 3, 1, 3118, 0, "payer"},
	{"tenant closes at 20 s, provider shows 58", "stale_close.txt", 3354, 322, 316, 4 + 211, 2, 2801, 0, "provider"},
}

// TestWorkedExample holds the transcripts to the table.
func TestWorkedExample(t *testing.T) {
	for _, row := range workedExample {
		t.Run(row.file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", row.file))
			if err != nil {
				t.Fatal(err)
			}
			_, s := replay(t, string(text))
			got := s.lease.Settlement
			want := lease.Settlement{
				BilledMS: got.BilledMS, Gross: amount.New(row.gross), Provider: amount.New(row.provider),
				Burned: amount.New(row.burned), Pool: amount.New(row.pool), Refunded: amount.New(row.refunded),
				Contester: amount.New(row.contester), Bounty: amount.New(20), BountyTo: row.bountyTo,
			}
			if s.lease.State != lease.StateClosed || got != want {
				t.Errorf("%s with\n got %+v\nwant %+v", s.lease.State, got, want)
			}
			if sum := row.provider + row.burned + row.pool + row.refunded + row.contester + 20; sum != row.locked {
				t.Errorf("the row adds up to %d of %d", sum, row.locked)
			}
		})
	}
}

// replay runs a transcript and returns it with the outputs as they are.
func replay(t *testing.T, text string) (string, *session) {
	t.Helper()
	var out strings.Builder
	s := newSession()
	expected := false // inside the old output of a case
	for at, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case line == "":
			expected = false
			out.WriteString("\n")
		case expected || line == "----":
			expected = true
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		default:
			result, err := s.run(line)
			if err != nil {
				t.Fatalf("line %d: %s: %v", at+1, line, err)
			}
			out.WriteString(line + "\n----\n" + result)
		}
	}
	return out.String(), s
}

// session is one order, one bid and one lease, with the bytes that were made on
// the way and the clocks of a chain.
type session struct {
	params  lease.Params
	blockMS int64
	meterMS uint64

	order, bid, ready []byte // envelopes
	named             map[string][]byte
	leaseID           []byte
	node, receiptKey  []byte
	lease             lease.Lease
}

const transcriptChain = "moyai-dev-1"

func newSession() *session {
	return &session{
		params: lease.Params{
			WindowMS: 60_000, MaxTimeoutMS: 86_400_000, MaxGraceMS: 600_000, MaxUnackedMS: 60_000,
			MaxBidLifeMS: 30_000, MaxOrderLifeMS: 600_000, SkewMS: 30_000, Bounty: amount.New(20), MaxCandidates: 4,
			Take: escrow.TakeParams{TakeBps: 200, BurnBps: 8000},
		},
		blockMS: 1_800_000_000_000,
		named:   map[string][]byte{},
	}
}

// run carries out one line. An error is a mistake in the transcript; what the
// protocol refuses is part of the output.
func (s *session) run(line string) (string, error) {
	words := strings.Fields(line)
	a := parseArguments(words[1:])
	var out string
	var err error
	switch words[0] {
	case "order":
		out, err = s.makeOrder(a)
	case "bid":
		out, err = s.makeBid(a)
	case "ready":
		out, err = s.makeReady(a)
	case "open":
		out, err = s.open(a)
	case "receipt", "claim", "contest", "away":
		out, err = s.makeNamed(words[0], a)
	case "tamper":
		out, err = s.tamper(a)
	case "advance":
		ms := a.ms(a.word(0))
		s.meterMS += ms
		s.blockMS += int64(ms)
		out = fmt.Sprintf("block time %d, meter %d\n", s.blockMS, s.meterMS)
	case "submit":
		out, err = s.submit(a)
	case "expire":
		out = s.apply(lease.Expire{})
	default:
		return "", fmt.Errorf("unknown command %q", words[0])
	}
	return out, errors.Join(err, a.finish())
}

// arguments are words and key=value pairs; finish reports pairs nobody read.
type arguments struct {
	words  []string
	values map[string]string
	used   map[string]bool
	errs   []error
}

func parseArguments(words []string) *arguments {
	a := &arguments{values: map[string]string{}, used: map[string]bool{}}
	for _, w := range words {
		if key, value, ok := strings.Cut(w, "="); ok {
			a.values[key] = value
		} else {
			a.words = append(a.words, w)
		}
	}
	return a
}

func (a *arguments) word(i int) string {
	if i >= len(a.words) {
		a.errs = append(a.errs, fmt.Errorf("word %d is missing", i+1))
		return ""
	}
	return a.words[i]
}

func (a *arguments) text(key, otherwise string) string {
	a.used[key] = true
	if v, ok := a.values[key]; ok {
		return v
	}
	return otherwise
}

func (a *arguments) number(key string, otherwise uint64) uint64 {
	v := a.text(key, "")
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	a.errs = append(a.errs, err)
	return n
}

func (a *arguments) duration(key, otherwise string) uint64 { return a.ms(a.text(key, otherwise)) }

func (a *arguments) ms(v string) uint64 {
	d, err := time.ParseDuration(v)
	a.errs = append(a.errs, err)
	return uint64(d.Milliseconds())
}

func (a *arguments) amount(key string) amount.Amount {
	n, err := amount.Parse(a.text(key, "0"))
	a.errs = append(a.errs, err)
	return n
}

func (a *arguments) rate(key, otherwise string) amount.Rate {
	p, err := amount.ParsePrice(a.text(key, otherwise))
	if err != nil {
		a.errs = append(a.errs, err)
		return amount.Rate{}
	}
	r, err := p.Rate()
	a.errs = append(a.errs, err)
	return r
}

func (a *arguments) reason(key string) lease.Reason {
	v := a.text(key, "none")
	for r := lease.ReasonNone; r == lease.ReasonNone || r.Valid(); r++ {
		if strings.ReplaceAll(r.String(), " ", "-") == v {
			return r
		}
	}
	a.errs = append(a.errs, fmt.Errorf("unknown reason %q", v))
	return 0
}

func (a *arguments) finish() error {
	for key := range a.values {
		if !a.used[key] {
			a.errs = append(a.errs, fmt.Errorf("nobody reads %s=", key))
		}
	}
	return errors.Join(a.errs...)
}

// show prints an envelope as a stranger would have to make it.
func show[T Object](s Signed[T], names map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %d bytes\n", s.Value.kind(), len(s.Body))
	for body := s.Body; len(body) > 0; {
		n := min(48, len(body))
		fmt.Fprintf(&b, "  %x\n", body[:n])
		body = body[n:]
	}
	fmt.Fprintf(&b, "digest %x\n", s.Digest)
	for _, sig := range s.Sigs {
		alg := map[uint64]string{AlgEd25519: "ed25519", AlgSecp256k1: "secp256k1"}[sig.Alg]
		fmt.Fprintf(&b, "signed by %s, %s %x\n  %x\n", names[hex.EncodeToString(sig.PublicKey)], alg, sig.PublicKey, sig.Sig)
	}
	return b.String()
}

// sentinels are the refusals that a transcript may show, by the name in the code:
// texts may improve, names are what callers and the chain's codes hang on.
var sentinels = []struct {
	name string
	err  error
}{
	{"wire.ErrTooLarge", ErrTooLarge}, {"wire.ErrNotCanonical", ErrNotCanonical}, {"wire.ErrInvalid", ErrInvalid},
	{"wire.ErrWrongChain", ErrWrongChain}, {"wire.ErrWrongKey", ErrWrongKey}, {"wire.ErrBadSignature", ErrBadSignature},
	{"lease.ErrOrderExpired", lease.ErrOrderExpired}, {"lease.ErrOrderLife", lease.ErrOrderLife},
	{"lease.ErrWrongOrder", lease.ErrWrongOrder}, {"lease.ErrWrongPayer", lease.ErrWrongPayer},
	{"lease.ErrBidExpired", lease.ErrBidExpired}, {"lease.ErrBidLife", lease.ErrBidLife}, {"lease.ErrDenom", lease.ErrDenom},
	{"lease.ErrRate", lease.ErrRate}, {"lease.ErrGrace", lease.ErrGrace}, {"lease.ErrGeneration", lease.ErrGeneration},
	{"lease.ErrWrongBid", lease.ErrWrongBid}, {"lease.ErrManifest", lease.ErrManifest}, {"lease.ErrTerms", lease.ErrTerms},
	{"lease.ErrReserved", lease.ErrReserved}, {"lease.ErrClosed", lease.ErrClosed}, {"lease.ErrNotOpen", lease.ErrNotOpen},
	{"lease.ErrNotSettling", lease.ErrNotSettling}, {"lease.ErrWindowOver", lease.ErrWindowOver},
	{"lease.ErrTooEarly", lease.ErrTooEarly}, {"lease.ErrNotAParty", lease.ErrNotAParty}, {"lease.ErrReason", lease.ErrReason},
	{"lease.ErrNotNodeSigned", lease.ErrNotNodeSigned}, {"lease.ErrNotAcknowledged", lease.ErrNotAcknowledged},
	{"lease.ErrBeyondHold", lease.ErrBeyondHold}, {"lease.ErrBeyondMeter", lease.ErrBeyondMeter},
	{"lease.ErrReceiptBackwards", lease.ErrReceiptBackwards}, {"lease.ErrNotStarted", lease.ErrNotStarted},
	{"lease.ErrClaimLate", lease.ErrClaimLate}, {"lease.ErrAlreadyClaimed", lease.ErrAlreadyClaimed},
	{"lease.ErrNothingToClaim", lease.ErrNothingToClaim}, {"lease.ErrNothingToContest", lease.ErrNothingToContest},
	{"lease.ErrContestBelowAcked", lease.ErrContestBelowAcked}, {"lease.ErrAlreadyContested", lease.ErrAlreadyContested},
}

func refused(err error) string {
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return "refused: " + s.name + "\n"
		}
	}
	return "refused: " + err.Error() + "\n"
}
