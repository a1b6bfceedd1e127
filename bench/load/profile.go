package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profileFor is how long a CPU profile runs. A phase that ends earlier waits for
// it; its idle tail does not count as CPU time.
const profileFor = 5 * time.Second

// enableProfiling lets the validator serve CometBFT's pprof endpoint.
func enableProfiling(home string) error {
	path := filepath.Join(home, "config", "config.toml")
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().String()
	_ = l.Close()
	text := strings.Replace(string(raw), `pprof_laddr = ""`, fmt.Sprintf(`pprof_laddr = %q`, address), 1)
	if text == string(raw) {
		return fmt.Errorf("%s has no empty pprof_laddr", path)
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// profile starts a CPU profile of the validator; the function it returns waits
// for its end and reports what went wrong.
func (l *ledger) profile(ctx context.Context, path string) func() error {
	done := make(chan error, 1)
	go func() { done <- l.fetchProfile(ctx, path) }()
	return func() error { return <-done }
}

func (l *ledger) fetchProfile(ctx context.Context, path string) error {
	config, err := os.ReadFile(filepath.Join(l.home, "config", "config.toml"))
	if err != nil {
		return err
	}
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", setting(string(config), "[rpc]", "pprof_laddr"), int(profileFor.Seconds()))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s", res.Status)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, res.Body); err != nil {
		_ = f.Close()
		return fmt.Errorf("profile: %w", err)
	}
	return f.Close()
}
