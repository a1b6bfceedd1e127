package devnet

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moyai-network/moyai/client/chain"
	"github.com/moyai-network/moyai/mechanism/amount"
)

// worker builds moyai-worker once per test run, or takes the one `make test`
// built.
func worker(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("MOYAI_BIN"); bin != "" {
		return filepath.Join(bin, "moyai-worker")
	}
	path := filepath.Join(t.TempDir(), "moyai-worker")
	out, err := exec.Command("go", "build", "-o", path, "github.com/moyai-network/moyai/cmd/moyai-worker").CombinedOutput()
	if err != nil {
		t.Fatalf("build the worker: %v\n%s", err, out)
	}
	return path
}

// TestNetworkSurvivesARestart starts a network, uses its faucet, stops it and
// goes on with the same chain.
func TestNetworkSurvivesARestart(t *testing.T) {
	if testing.Verbose() {
		slog.SetLogLoggerLevel(slog.LevelDebug)
	}
	cfg := Config{Dir: t.TempDir(), Mode: InProcess, Worker: worker(t), Providers: []ProviderSpec{{Name: "alice"}, {Name: "bob"}}}
	n := start(t, cfg)
	ctx := t.Context()
	assertProviders(t, n, "alice", "bob")
	key, err := ensureKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := AskFaucet(ctx, n.FaucetURL, key.Address); err != nil {
		t.Fatal(err)
	}
	assertBalance(t, n, key.Address, faucetAmount)
	height, err := n.Chain().Height(ctx)
	if err != nil {
		t.Fatal(err)
	}
	env := n.Env()
	n.Stop()

	// Without naming providers: those of the folder come back.
	cfg.Providers = nil
	n = start(t, cfg)
	if got := strings.Join(n.Env(), " "); got != strings.Join(env, " ") {
		t.Errorf("what to export changed from %s to %s", env, got)
	}
	assertProviders(t, n, "alice", "bob")
	assertBalance(t, n, key.Address, faucetAmount)
	again, err := n.Chain().Height(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if again < height {
		t.Errorf("height %d after the restart, was %d: another chain", again, height)
	}
}

func start(t *testing.T, cfg Config) *Network {
	t.Helper()
	n, err := Start(t.Context(), cfg)
	if err != nil {
		logs, _ := filepath.Glob(filepath.Join(cfg.Dir, "logs", "*"))
		for _, l := range logs {
			t.Logf("%s:\n%s", l, tail(l, 4096))
		}
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return n
}

func assertProviders(t *testing.T, n *Network, want ...string) {
	t.Helper()
	providers, err := n.Chain().Providers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, p := range providers {
		got[p.Moniker] = true
	}
	for _, name := range want {
		if !got[name] {
			t.Errorf("%s is not registered: %v", name, got)
		}
	}
	nodes, err := n.Chain().Nodes(t.Context(), "", true)
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) != len(want) {
		t.Errorf("%d machines are registered, want %d", len(nodes), len(want))
	}
}

func assertBalance(t *testing.T, n *Network, address string, want uint64) {
	t.Helper()
	got, err := n.Chain().Balance(context.WithoutCancel(t.Context()), address, chain.BaseDenom)
	if err != nil {
		t.Fatal(err)
	}
	if got != amount.New(want) {
		t.Errorf("%s owns %s, want %d", address, got, want)
	}
}
