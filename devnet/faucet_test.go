package devnet

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// till is a giver that remembers what it gave.
type till struct {
	mu   sync.Mutex
	gave map[string]uint64
	fail error
}

func (t *till) Give(_ context.Context, to string, amount uint64) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail != nil {
		return "", t.fail
	}
	t.gave[to] += amount
	return "HASH", nil
}

func startFaucet(t *testing.T) (*faucet, *till) {
	t.Helper()
	g := &till{gave: map[string]uint64{}}
	f, err := newFaucet("127.0.0.1:0", g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f, g
}

func TestFaucetGivesOncePerMinute(t *testing.T) {
	f, g := startFaucet(t)
	ctx := t.Context()
	if err := AskFaucet(ctx, f.url, "moyai1a"); err != nil {
		t.Fatal(err)
	}
	if err := AskFaucet(ctx, f.url, "moyai1a"); err == nil || !strings.Contains(err.Error(), "less than a minute") {
		t.Errorf("second request: %v, want a refusal", err)
	}
	if err := AskFaucet(ctx, f.url, "moyai1b"); err != nil {
		t.Errorf("another address: %v", err)
	}
	if g.gave["moyai1a"] != faucetAmount || g.gave["moyai1b"] != faucetAmount {
		t.Errorf("gave %v, want %d each", g.gave, faucetAmount)
	}
}

// A failed gift must not lock the address out.
func TestFaucetForgetsFailures(t *testing.T) {
	f, g := startFaucet(t)
	g.fail = errors.New("the chain is away")
	if err := AskFaucet(t.Context(), f.url, "moyai1a"); err == nil || !strings.Contains(err.Error(), "the chain is away") {
		t.Fatalf("got %v, want the reason", err)
	}
	g.fail = nil
	if err := AskFaucet(t.Context(), f.url, "moyai1a"); err != nil {
		t.Errorf("after a failure: %v", err)
	}
}

func TestFaucetIsRateLimited(t *testing.T) {
	f, g := startFaucet(t)
	refused := 0
	for i := range 2 * faucetBurst {
		if err := AskFaucet(t.Context(), f.url, "moyai1"+strings.Repeat("q", i+1)); err != nil {
			refused++
		}
	}
	if refused == 0 || len(g.gave) < faucetBurst {
		t.Errorf("%d of %d requests refused, %d served; want some refused and at least %d served", refused, 2*faucetBurst, len(g.gave), faucetBurst)
	}
}

func TestFaucetRefusesNonsense(t *testing.T) {
	f, g := startFaucet(t)
	for _, body := range []string{"", "{", `{"address":""}`, `{"address":"` + strings.Repeat("a", 2*faucetMaxRequest) + `"}`} {
		resp, err := http.Post(f.url, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("body of %d bytes: status %d, want 400", len(body), resp.StatusCode)
		}
	}
	resp, err := http.Get(f.url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d, want 405", resp.StatusCode)
	}
	if len(g.gave) != 0 {
		t.Errorf("nonsense was given money: %v", g.gave)
	}
}

func TestFaucetStaysOnLoopback(t *testing.T) {
	if _, err := newFaucet("0.0.0.0:0", &till{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a faucet on every interface was accepted")
	}
}
