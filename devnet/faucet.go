package devnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// What the faucet gives, and how often.
const (
	faucetAmount      = 100_000_000 // 100 MOY in umoy
	faucetEvery       = 200 * time.Millisecond
	faucetBurst       = 32
	faucetPerAddress  = time.Minute
	faucetMaxTracked  = 4096
	faucetMaxRequest  = 1 << 10
	faucetSendTimeout = 20 * time.Second
)

// errFaucetSoon is the faucet's refusal of an address that asks too often.
var errFaucetSoon = errors.New("this address was given money less than a minute ago; wait a little")

// giver sends money from the faucet's account.
type giver interface {
	// Give sends amount base units to a bech32 address and returns when it is
	// committed, with the transaction's hash.
	Give(ctx context.Context, to string, amount uint64) (hash string, err error)
}

// faucet hands out the devnet's money over HTTP:
//
//	POST / {"address":"moyai1…"} → {"tx":"…","amount":"100000000umoy"}
//
// It listens on the loopback interface only: whoever can reach it has the
// machine anyway.
type faucet struct {
	giver  giver
	log    *slog.Logger
	all    *rate.Limiter
	server *http.Server
	url    string

	mu   sync.Mutex
	last map[string]time.Time // by address
}

func newFaucet(addr string, g giver, log *slog.Logger) (*faucet, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("faucet: %w", err)
	}
	if ip := l.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		_ = l.Close()
		return nil, fmt.Errorf("faucet: %s is not a loopback address", ip)
	}
	f := &faucet{
		giver: g, log: log, all: rate.NewLimiter(rate.Every(faucetEvery), faucetBurst),
		url: "http://" + l.Addr().String(), last: map[string]time.Time{},
	}
	f.server = &http.Server{Handler: f, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 8 << 10}
	go func() {
		if err := f.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("faucet ended", "err", err)
		}
	}()
	return f, nil
}

func (f *faucet) close() { _ = f.server.Close() }

// ServeHTTP implements http.Handler.
func (f *faucet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		refuse(w, http.StatusMethodNotAllowed, errors.New(`ask with POST and a body like {"address":"moyai1…"}`))
		return
	}
	var req struct {
		Address string `json:"address"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, faucetMaxRequest)).Decode(&req); err != nil || req.Address == "" {
		refuse(w, http.StatusBadRequest, errors.New(`the body must be like {"address":"moyai1…"}`))
		return
	}
	if !f.all.Allow() {
		refuse(w, http.StatusTooManyRequests, errors.New("the faucet is busy; try again in a second"))
		return
	}
	undo, err := f.take(req.Address)
	if err != nil {
		refuse(w, http.StatusTooManyRequests, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), faucetSendTimeout)
	defer cancel()
	hash, err := f.giver.Give(ctx, req.Address, faucetAmount)
	if err != nil {
		undo()
		f.log.Warn("faucet could not give", "to", req.Address, "err", err)
		refuse(w, http.StatusBadGateway, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"tx": hash, "amount": fmt.Sprintf("%dumoy", uint64(faucetAmount))})
}

// take records that an address is being served; undo forgets it again.
func (f *faucet) take(address string) (undo func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if at, ok := f.last[address]; ok && now.Sub(at) < faucetPerAddress {
		return nil, errFaucetSoon
	}
	if len(f.last) >= faucetMaxTracked {
		for a, at := range f.last {
			if now.Sub(at) >= faucetPerAddress {
				delete(f.last, a)
			}
		}
		if len(f.last) >= faucetMaxTracked {
			return nil, errors.New("the faucet is busy; try again in a minute")
		}
	}
	f.last[address] = now
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.last, address)
	}, nil
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
