package provider

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/opencontainers/go-digest"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/pull"
	"github.com/moyai-network/moyai/mechanism/lease"
)

// platform is what this machine runs, as images name it.
const platform = "linux/" + runtime.GOARCH

// pantry is where images come from: registries, through a store that leases share.
// A lease gets from it only what its own manifest names.
type pantry struct {
	client pull.Client
	store  *pull.Store
}

func openPantry(c *Config) (*pantry, error) {
	store, err := pull.OpenStore(filepath.Join(c.Home, "pulled"), c.ImageBytes)
	if err != nil {
		return nil, err
	}
	return &pantry{client: pull.Client{Allow: c.RegistryAllow}, store: store}, nil
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
	pulled, err := j.a.d.pantry.client.Pull(ctx, j.a.d.pantry.store, n, platform, who, m.ModuleBytes, j.imageDir(), func(d digest.Digest) error {
		if err := os.WriteFile(j.pinFile(), []byte(d), 0o600); err != nil {
			return err
		}
		j.pin(d)
		return nil
	})
	if err != nil {
		return fmt.Errorf("pull %s: %w", m.Image.Reference, err)
	}
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
