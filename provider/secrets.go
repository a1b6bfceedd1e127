package provider

import (
	"errors"
	"fmt"
	"slices"

	"github.com/moyai-network/moyai/compute/image/pull"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire/sealed"
)

// errNoSecrets: the tenant has not sent them yet.
var errNoSecrets = errors.New("the tenant has not sent the secrets that the manifest names")

// secrets takes in what a tenant sealed for this lease. It is looked at, so that
// a wrong one is refused while the tenant is there, and kept as it came: the
// journal and memory hold no secret, only the instant of use does.
func (a *agreement) secrets(m *p2p.Secrets) error {
	if a.snapshot().Started {
		return nil // said again after a reconnect; the program has them
	}
	if _, err := a.unseal(m.Sealed); err != nil {
		return err
	}
	if err := a.d.journal.SetSecrets(a.d.ctx, a.row.ID, m.Sealed); err != nil {
		return err
	}
	a.job.mu.Lock()
	defer a.job.mu.Unlock()
	a.job.sealed = m.Sealed
	select {
	case a.job.told <- struct{}{}:
	default:
	}
	return nil
}

// unseal opens secrets and holds them against the names in the manifest.
func (a *agreement) unseal(b []byte) (sealed.Secrets, error) {
	s, err := sealed.Open(b, a.d.chainID, a.row.ID[:], a.d.seed)
	if err != nil {
		return sealed.Secrets{}, err
	}
	want := slices.DeleteFunc(slices.Clone(a.man.Secrets), func(n string) bool { return n == manifest.RegistrySecret })
	if !slices.Equal(s.Names(), want) {
		return sealed.Secrets{}, errors.New("the secrets sent are not those that the manifest names")
	}
	return s, nil
}

// reveal opens what the tenant sent; none are needed if the manifest names none.
func (j *job) reveal() (sealed.Secrets, error) {
	if len(j.a.man.Secrets) == 0 {
		return sealed.Secrets{}, nil
	}
	j.mu.Lock()
	b := j.sealed
	j.mu.Unlock()
	if len(b) == 0 {
		var err error
		if b, err = j.a.d.journal.Secrets(j.a.d.ctx, j.a.row.ID); err != nil {
			return sealed.Secrets{}, fmt.Errorf("%w (%w)", errNoSecrets, err)
		}
	}
	return j.a.unseal(b)
}

// credentials are what the image's registry is shown.
func (j *job) credentials() (pull.Credentials, error) {
	if !slices.Contains(j.a.man.Secrets, manifest.RegistrySecret) {
		return pull.Credentials{}, nil
	}
	s, err := j.reveal()
	return pull.Credentials{User: s.Registry.User, Password: s.Registry.Password}, err
}
