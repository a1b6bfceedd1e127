package devnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

const (
	stateName    = "devnet.json"
	stateVersion = 1
)

// state is what a network's folder remembers, so that a restart continues the
// same chain on the same ports and what people exported stays right.
type state struct {
	Version    int             `json:"version"`
	ChainID    string          `json:"chain_id"`
	Profile    Profile         `json:"profile"`
	Validators []validatorPort `json:"validators"`
	Providers  []providerState `json:"providers"`
	FaucetPort int             `json:"faucet_port"`
}

type validatorPort struct {
	Home string `json:"home"` // relative to the network's folder
	RPC  int    `json:"rpc"`
	P2P  int    `json:"p2p"`
	GRPC int    `json:"grpc"`
	REST int    `json:"rest"`
}

type providerState struct {
	ProviderSpec
	Port int `json:"port"` // TCP and QUIC
}

// loadState reads the folder's state; nil if there is no network in it yet.
func loadState(dir string) (*state, error) {
	path := filepath.Join(dir, stateName)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the network's state: %w", err)
	}
	var s state
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("%s: %w; remove the folder to begin anew", path, err)
	}
	if s.Version != stateVersion || len(s.Validators) == 0 {
		return nil, fmt.Errorf("%s was written by another version; remove the folder to begin anew", path)
	}
	return &s, nil
}

// save writes the state so that a crash leaves the old or the new one.
func (s *state) save(dir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, stateName)
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the network's state: %w", err)
	}
	return os.Rename(path+".new", path)
}

// newState plans a network: who there is and on which ports.
func newState(cfg Config) (*state, error) {
	ports, err := freePorts(4*cfg.Validators + len(cfg.Providers) + 1)
	if err != nil {
		return nil, err
	}
	next := func() int { p := ports[0]; ports = ports[1:]; return p }
	s := &state{Version: stateVersion, ChainID: "moyai-dev-1", Profile: cfg.Profile}
	for i := range cfg.Validators {
		s.Validators = append(s.Validators, validatorPort{
			Home: filepath.Join("validators", fmt.Sprintf("v%d", i+1)),
			RPC:  next(), P2P: next(), GRPC: next(), REST: next(),
		})
	}
	if cfg.RPCPort != 0 && portFree(cfg.RPCPort) {
		s.Validators[0].RPC = cfg.RPCPort
	}
	for _, p := range cfg.Providers {
		s.Providers = append(s.Providers, providerState{p, next()})
	}
	s.FaucetPort = next()
	return s, nil
}

// merge takes over providers that the caller wants and the state lacks.
func (s *state) merge(cfg Config) error {
	for _, want := range cfg.Providers {
		known := false
		for i := range s.Providers {
			if s.Providers[i].Name == want.Name {
				s.Providers[i].ProviderSpec, known = want, true
			}
		}
		if known {
			continue
		}
		ports, err := freePorts(1)
		if err != nil {
			return err
		}
		s.Providers = append(s.Providers, providerState{want, ports[0]})
	}
	return nil
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
