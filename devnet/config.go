package devnet

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/moyai-network/moyai/chain/app"
)

// Profile is how fast and how shared the chain is.
type Profile string

// The profiles.
const (
	Dev Profile = "dev" // one validator, 50 ms commit timeout
	LAN Profile = "lan" // four validators, 200 ms
)

// Mode says where the roles run.
type Mode int

const (
	// Processes runs one process per role. It needs Config.Binary.
	Processes Mode = iota
	// InProcess runs every role inside the caller, for tests.
	InProcess
)

// Config describes a network. Dir is required.
type Config struct {
	// Dir holds everything. If it holds a network already, that one goes on:
	// its chain, its accounts and its ports; Profile and Validators are then
	// those it was made with.
	Dir     string
	Profile Profile // default Dev
	// Validators, or zero for as many as the profile has.
	Validators int
	// Providers to run. Those of an existing network are kept if this is nil.
	Providers []ProviderSpec
	Mode      Mode
	// Binary is the moyai executable, for Processes.
	Binary string
	// Worker is the moyai-worker executable; empty: beside Binary, or found by
	// package compute/wasm.
	Worker string
	// RPCPort is the port wanted for the first validator's RPC; another is taken
	// if it is in use. Zero: any.
	RPCPort int
	// Genesis changes parameters before the chain is born, for tests that cannot
	// wait for real windows. Nil: as it is.
	Genesis func(*app.Genesis)
	// Logger receives what the network does. Nil discards. Roles write to files
	// under Dir/logs in either mode.
	Logger *slog.Logger
}

// ProviderSpec is one provider of the network.
type ProviderSpec struct {
	Name        string   `json:"name"`   // moniker and folder; default "p1", "p2", …
	Prices      []string `json:"prices"` // as `moyai provide --price` takes them
	CPUMilli    uint64   `json:"cpu_milli"`
	MemoryBytes uint64   `json:"memory_bytes"`
	// Containers lends containers too: the caller must be root, and Missing nothing
	// that package compute/container names.
	Containers bool `json:"containers,omitempty"`
}

// ensureDefaults fills what was left zero.
func (c *Config) ensureDefaults() {
	if c.Profile == "" {
		c.Profile = Dev
	}
	if c.Validators == 0 {
		c.Validators = 1
		if c.Profile == LAN {
			c.Validators = 4
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for i := range c.Providers {
		p := &c.Providers[i]
		if p.Name == "" {
			p.Name = fmt.Sprintf("p%d", i+1)
		}
		if len(p.Prices) == 0 {
			p.Prices = []string{"cpu=0.02MOY/h"}
		}
		if p.CPUMilli == 0 {
			p.CPUMilli = 2000
		}
		if p.MemoryBytes == 0 {
			p.MemoryBytes = 2 << 30
		}
	}
}

// validate reports the first field that makes no sense.
func (c *Config) validate() error {
	switch {
	case c.Dir == "":
		return errors.New("a devnet needs a folder")
	case c.Profile != Dev && c.Profile != LAN:
		return fmt.Errorf("unknown profile %q: use dev or lan", c.Profile)
	case c.Validators < 1 || c.Validators > 16:
		return fmt.Errorf("%d validators: use 1 to 16", c.Validators)
	case len(c.Providers) > 64:
		return fmt.Errorf("%d providers: use at most 64 on one machine", len(c.Providers))
	}
	seen := map[string]bool{}
	for _, p := range c.Providers {
		if p.Name != filepath.Base(p.Name) || p.Name == "." || p.Name == ".." {
			return fmt.Errorf("provider name %q must be usable as a folder name", p.Name)
		}
		if seen[p.Name] {
			return fmt.Errorf("two providers are called %q", p.Name)
		}
		seen[p.Name] = true
	}
	if c.Mode != Processes {
		return nil
	}
	if c.Binary == "" {
		return errors.New("a devnet of processes needs the moyai executable")
	}
	if _, err := os.Stat(c.Binary); err != nil {
		return fmt.Errorf("moyai executable: %w", err)
	}
	return nil
}
