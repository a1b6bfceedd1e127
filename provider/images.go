package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/pull"
	"github.com/moyai-network/moyai/mechanism/lease"
	"github.com/moyai-network/moyai/p2p"
)

// platform is what this machine runs, as images name it.
const platform = "linux/" + runtime.GOARCH

// pantry is where images come from: registries, through a store that leases share.
// A lease gets from it only what its own manifest names.
type pantry struct {
	client pull.Client
	store  *pull.Store
	perMS  atomic.Uint64 // bytes, as the last load of some size went
}

const (
	// firstPerMS is what is assumed before anything was loaded: 80 Mbit/s.
	firstPerMS = 10_000
	// telling is the least that says something about the line.
	telling = 1 << 20
)

// estimate is how much of what an order hinted at is here, and how long the rest
// may take. It is told to anybody who asks: see ADR 17.
func (p *pantry) estimate(hints []p2p.Hint) (here, loadMS uint64) {
	if p == nil {
		return 0, 0
	}
	var more uint64
	for _, h := range hints {
		n := min(h.Bytes, 1<<50)
		if p.store.Has([32]byte(h.Key)) {
			here += n
		} else {
			more += n
		}
	}
	return here, more / max(p.perMS.Load(), 1)
}

// loaded learns from a load.
func (p *pantry) loaded(bytes uint64, took time.Duration) {
	if bytes >= telling && took > 0 {
		p.perMS.Store(max(bytes/uint64(max(took.Milliseconds(), 1)), 1))
	}
}

func openPantry(c *Config) (*pantry, error) {
	store, err := pull.OpenStore(filepath.Join(c.Home, "pulled"), c.ImageBytes)
	if err != nil {
		return nil, err
	}
	p := &pantry{client: pull.Client{Allow: c.RegistryAllow}, store: store}
	p.perMS.Store(firstPerMS)
	return p, nil
}

// imageDir is where a pulled image lies, pinFile what its name stood for when it
// was first asked for: a lease keeps to it.
func (j *job) imageDir() string { return filepath.Join(j.dir, "image") }
func (j *job) pinFile() string  { return filepath.Join(j.dir, "image.digest") }

// pull has the manifest's image.
func (j *job) pullImage(ctx context.Context) error {
	if _, err := os.Lstat(j.imageDir()); err == nil {
		return j.repin()
	}
	m := j.a.man
	who, err := j.credentials()
	if err != nil {
		return err
	}
	n := pull.Name{Reference: m.Image.Reference}
	if len(m.Image.Digest) > 0 {
		n.Digest = digest.NewDigestFromBytes(digest.SHA256, m.Image.Digest)
	} else if b, err := os.ReadFile(j.pinFile()); err == nil {
		n.Digest = digest.Digest(b)
	}
	began := time.Now()
	pinned := func(d digest.Digest) error {
		if err := os.WriteFile(j.pinFile(), []byte(d), 0o600); err != nil {
			return err
		}
		j.pin(d)
		return nil
	}
	pulled, err := j.a.d.pantry.client.Pull(ctx, j.a.d.pantry.store, n, platform, who, m.ModuleBytes, j.imageDir(), pull.Watch{Pinned: pinned, Progress: j.loading})
	j.loading(0, 0)
	if err != nil {
		return fmt.Errorf("pull %s: %w", m.Image.Reference, err)
	}
	j.a.d.pantry.loaded(pulled.Bytes-min(pulled.Here, pulled.Bytes), time.Since(began))
	j.a.log.Info("pulled", "image", m.Image.Reference, "digest", pulled.Digest, "bytes", pulled.Bytes, "here", pulled.Here)
	return nil
}

// repin reads again what the image's name stood for.
func (j *job) repin() error {
	b, err := os.ReadFile(j.pinFile())
	if err != nil {
		return fmt.Errorf("%w: %w", compute.ErrUnavailable, err)
	}
	j.pin(digest.Digest(b))
	return nil
}

// pin remembers the digest, for the tenant to see.
func (j *job) pin(d digest.Digest) {
	j.mu.Lock()
	j.pinned = string(d)
	j.mu.Unlock()
	j.a.changed()
}

func (j *job) imageDigest() string {
	if j == nil {
		return ""
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.pinned
}

// pullFailure is prepareFailure for what a registry did.
func pullFailure(err error) (reason lease.Reason, text string, final, known bool) {
	for _, tenants := range []error{pull.ErrBadName, pull.ErrNotFound, pull.ErrUnauthorized, pull.ErrPlatform,
		pull.ErrMismatch, pull.ErrTooLarge, pull.ErrBadImage} {
		if errors.Is(err, tenants) {
			return lease.ReasonBadManifest, err.Error(), true, true
		}
	}
	switch {
	case errors.Is(err, pull.ErrPrivate):
		return lease.ReasonProviderStopped, err.Error(), true, true
	case errors.Is(err, pull.ErrUnreachable):
		return lease.ReasonProviderStopped, err.Error(), false, true
	}
	return 0, "", false, false
}
