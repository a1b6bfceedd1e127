package lease_test

import (
	"flag"
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
	"github.com/moyai-network/moyai/mechanism/receipt"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts under testdata")

// TestTranscripts replays testdata/*.txt. A file is a list of cases: a command
// line, "----", and what the command printed, up to an empty line. Lines that
// begin with # are comments. Times are like 90s or 500ms, money is in umoy.
//
//	params window=60s …      limits; before open
//	open rate=0.02MOY/h timeout=600s grace=30s unacked=10s offline=0s   (at meter time 0)
//	advance 90s              meter time passes
//	start                    both sign the start receipt (off the chain)
//	sign 58s                 both sign the next receipt, if receipt.Next allows (off the chain)
//	close by=payer shown=20s one-sided close; away=… reason=… sender=…
//	final at=90s             final receipt; by=both|node reason=…
//	receipt at=58s           shown in the window; by=both|node|key
//	claim at=68s, contest at=58s, expire
//
// Run with -update to rewrite what is below the dashes, then read the diff.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("transcripts: %d found, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := replay(string(want))
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s differs, now it reads:\n%s", file, got)
			}
		})
	}
}

// replay runs a transcript and returns it with the outputs as they are.
func replay(text string) (string, error) {
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
				return "", fmt.Errorf("line %d: %s: %w", at+1, line, err)
			}
			out.WriteString(line + "\n----\n" + result)
		}
	}
	return out.String(), nil
}

// session is one lease on a chain with a clock, and what its two sides signed.
type session struct {
	params lease.Params
	lease  lease.Lease
	now    uint64
	last   receipt.Receipt
}

func newSession() *session { return &session{params: exampleParams()} }

// exampleParams are those of the worked example.
func exampleParams() lease.Params {
	return lease.Params{
		WindowMS:       60_000,
		MaxTimeoutMS:   86_400_000,
		MaxGraceMS:     600_000,
		MaxUnackedMS:   60_000,
		MaxBidLifeMS:   30_000,
		MaxOrderLifeMS: 600_000,
		SkewMS:         30_000,
		Bounty:         amount.New(20),
		MaxCandidates:  4,
		Take:           escrow.TakeParams{TakeBps: 200, BurnBps: 8000},
	}
}

func (s *session) run(line string) (string, error) {
	words := strings.Fields(line)
	args, err := parseArgs(words[1:])
	if err != nil {
		return "", err
	}
	sender := args.text("sender", "provider")
	switch words[0] {
	case "params":
		s.params.WindowMS = args.ms("window", s.params.WindowMS)
		s.params.SkewMS = args.ms("skew", s.params.SkewMS)
		s.params.MaxTimeoutMS = args.ms("max_timeout", s.params.MaxTimeoutMS)
		return fmt.Sprintf("window %d skew %d\n", s.params.WindowMS, s.params.SkewMS), args.err
	case "open":
		return s.open(args)
	case "advance":
		s.now += args.ms("", 0)
		return fmt.Sprintf("meter %d\n", s.now), args.err
	case "start":
		s.last = receipt.Receipt{}
		return s.signed(s.last, receipt.Start(s.last)), args.err
	case "sign":
		next := receipt.Receipt{Sequence: s.last.Sequence + 1, ElapsedMS: args.ms("", 0)}
		next.Sequence = args.ms("sequence", next.Sequence)
		return s.signed(next, receipt.Next(s.last, next, s.lease.MaxUnackedMS)), args.err
	case "close":
		step := lease.OneSided{By: parties[args.text("by", "")], AwayMS: args.ms("away", 0), Reason: args.reason(lease.ReasonNone)}
		step.Sender = args.text("sender", args.text("by", ""))
		if at, ok := args.has("shown"); ok {
			node, key := args.signers()
			step.Receipt = &lease.Shown{Sequence: at / 1000, ElapsedMS: at, NodeSigned: node, KeySigned: key}
		}
		return s.apply(step), args.err
	case "final":
		at := args.ms("at", 0)
		node, key := args.signers()
		return s.apply(lease.FinalReceipt{Sequence: at/1000 + 1, ElapsedMS: at, Reason: args.reason(lease.ReasonCompleted),
			NodeSigned: node, KeySigned: key, AwayMS: args.ms("away", 0), Sender: sender}), args.err
	case "receipt":
		at := args.ms("at", 0)
		node, key := args.signers()
		return s.apply(lease.Receipt{Sequence: at / 1000, ElapsedMS: at, NodeSigned: node, KeySigned: key,
			AwayMS: args.ms("away", 0), Sender: sender}), args.err
	case "claim":
		return s.apply(lease.Claim{ElapsedMS: args.ms("at", 0), Sender: sender}), args.err
	case "contest":
		return s.apply(lease.Contest{ElapsedMS: args.ms("at", 0), Sender: args.text("sender", "payer")}), args.err
	case "expire":
		return s.apply(lease.Expire{}), args.err
	}
	return "", fmt.Errorf("unknown command %q", words[0])
}

var parties = map[string]lease.Party{
	"payer": lease.PartyPayer, "provider": lease.PartyProvider, "anyone": lease.PartyAnyone,
}

func (s *session) open(args arguments) (string, error) {
	price, err := amount.ParsePrice(args.text("rate", "0.02MOY/h"))
	if err != nil {
		return "", err
	}
	rate, err := price.Rate()
	if err != nil {
		return "", err
	}
	s.now = 0
	opened, err := lease.Open(s.params, lease.Terms{
		Rate:         rate,
		TimeoutMS:    args.ms("timeout", 600_000),
		GraceMS:      args.ms("grace", 30_000),
		MaxUnackedMS: args.ms("unacked", 10_000),
		OfflineMS:    args.ms("offline", 0),
		Bond:         amount.New(args.ms("bond", 0)),
	}, s.now)
	if err != nil {
		return "refused: " + err.Error() + "\n", args.err
	}
	s.lease, s.last = opened, receipt.Receipt{}
	return fmt.Sprintf("OPEN rate %s hold %s bounty %s dry_at %d\n", opened.Rate, opened.Hold, opened.Bounty, opened.DryAt), args.err
}

func (s *session) signed(r receipt.Receipt, err error) string {
	if err != nil {
		return "refused: " + err.Error() + "\n"
	}
	s.last = r
	return fmt.Sprintf("countersigned %d at %d ms\n", r.Sequence, r.ElapsedMS)
}

func (s *session) apply(step lease.Step) string {
	next, err := s.lease.Apply(s.params, step, s.now)
	if err != nil {
		if next != s.lease {
			return "BROKEN: refused and changed\n"
		}
		return "refused: " + err.Error() + "\n"
	}
	s.lease = next
	if next.State == lease.StateClosed {
		return printClosed(s.params, next)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s by %s, acked %d, claims until %d, window until %d\n",
		next.State, next.ClosedBy, next.AckedMS, next.ClaimEndsAt(), next.WindowEndsAt)
	if next.Claimed {
		fmt.Fprintf(&b, "claimed %d\n", next.ClaimMS)
	}
	if next.Contested {
		fmt.Fprintf(&b, "contested at %d by %s\n", next.ContestMS, next.Contester)
	}
	return b.String()
}

func printClosed(p lease.Params, l lease.Lease) string {
	s := l.Settlement
	split, err := p.Take.Split(s.Gross)
	if err != nil {
		return err.Error()
	}
	forfeited, err := s.Burned.Sub(split.Burned)
	if err != nil {
		return err.Error()
	}
	burned := split.Burned.String()
	if !forfeited.IsZero() {
		burned += " + " + forfeited.String() + " forfeited"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "CLOSED %s, ended by %s, billed %d ms\n", l.Reason, l.ClosedBy, s.BilledMS)
	fmt.Fprintf(&b, "gross     %s\nprovider  %s\nburned    %s\npool      %s\nrefunded  %s\n", s.Gross, s.Provider, burned, s.Pool, s.Refunded)
	if !s.Contester.IsZero() {
		fmt.Fprintf(&b, "contester %s to %s\n", s.Contester, l.Contester)
	}
	to := s.BountyTo
	if to == "" {
		to = "payer, unclaimed"
	}
	fmt.Fprintf(&b, "bounty    %s to %s\n", s.Bounty, to)
	return b.String()
}

// arguments are key=value pairs; a bare word has the empty key.
type arguments struct {
	values map[string]string
	err    error
}

func parseArgs(words []string) (arguments, error) {
	args := arguments{values: map[string]string{}}
	for _, w := range words {
		key, value, found := strings.Cut(w, "=")
		if !found {
			key, value = "", w
		}
		if _, twice := args.values[key]; twice {
			return args, fmt.Errorf("%q given twice", key)
		}
		args.values[key] = value
	}
	return args, nil
}

func (a arguments) text(key, otherwise string) string {
	if v, ok := a.values[key]; ok {
		return v
	}
	return otherwise
}

func (a arguments) has(key string) (uint64, bool) {
	_, ok := a.values[key]
	return a.ms(key, 0), ok
}

// ms reads a duration, or a plain number.
func (a arguments) ms(key string, otherwise uint64) uint64 {
	v, ok := a.values[key]
	if !ok {
		return otherwise
	}
	if n, err := strconv.ParseUint(v, 10, 64); err == nil {
		return n
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		panic(fmt.Sprintf("transcript: %s=%s: %v", key, v, err))
	}
	return uint64(d.Milliseconds())
}

func (a arguments) signers() (node, key bool) {
	by := a.text("by", "both")
	if by == "payer" || by == "provider" || by == "anyone" { // close by=…
		by = a.text("signed", "both")
	}
	return by != "key", by != "node"
}

func (a arguments) reason(otherwise lease.Reason) lease.Reason {
	v, ok := a.values["reason"]
	if !ok {
		return otherwise
	}
	for r := lease.ReasonNone; r < 64; r++ {
		if strings.ReplaceAll(r.String(), " ", "-") == v {
			return r
		}
	}
	return 99
}
