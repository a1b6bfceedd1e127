package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/moyai-network/moyai/compute/image/pull"
	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/wire/sealed"
)

// resolveTimeout bounds asking a registry: a provider may reach it where we do
// not.
const resolveTimeout = 15 * time.Second

// resolve fixes, once per job, what depends on the world: which image a name
// stands for, where its volumes are, which secrets there are.
func (c *Client) resolve(ctx context.Context, j *Job) error {
	if err := j.resolveImage(ctx); err != nil {
		return err
	}
	j.SecretNames = slices.Sorted(maps.Keys(j.Secrets))
	if j.Registry != nil {
		if j.Image == "" {
			return fmt.Errorf("%w: a login at a registry, but no image to pull", ErrBadJob)
		}
		j.SecretNames = append(j.SecretNames, manifest.RegistrySecret)
		slices.Sort(j.SecretNames)
	}
	if len(j.SecretNames) > 0 { // whoever gets the lease: it must fit
		if _, err := sealed.Seal(j.sealable(), c.chain.ChainID(), make([]byte, 20), anyNode); err != nil {
			return fmt.Errorf("%w: %w", ErrBadJob, err)
		}
	}
	return c.placeVolumes(ctx, j)
}

// anyNode is a key to try sealing with: the curve's base point.
var anyNode, _ = hex.DecodeString("5866666666666666666666666666666666666666666666666666666666666666")

// resolveImage asks the registry, if this machine reaches it.
func (j *Job) resolveImage(ctx context.Context) error {
	if j.Image == "" {
		return nil
	}
	n, err := pull.Parse(j.Image)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadJob, err)
	}
	var who pull.Credentials
	if j.Registry != nil {
		who = pull.Credentials{User: j.Registry.User, Password: j.Registry.Password}
	}
	r := &ResolvedImage{Reference: n.Reference, Bytes: j.ImageBytesMax}
	if n.Digest != "" {
		r.Digest, _ = hex.DecodeString(n.Digest.Encoded()) // it was validated
	}
	j.Resolved = r
	asking, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	own := pull.Client{Anywhere: true} // what is asked for here is this machine's own wish
	found, err := own.Resolve(asking, n, j.Platform, who)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, pull.ErrUnreachable), asking.Err() != nil:
		return nil // the provider may reach it, and pins what it finds
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBadJob, err)
	}
	r.Digest, _ = hex.DecodeString(found.Digest.Encoded())
	r.Bytes = found.Bytes
	switch len(found.Platforms) {
	case 1:
		system, arch, _ := strings.Cut(found.Platforms[0], "/")
		if system != "linux" || j.Platform != "" && j.Platform != found.Platforms[0] {
			return fmt.Errorf("%w: image %s is for %s", ErrBadJob, j.Image, found.Platforms[0])
		}
		r.Arch = arch
	default:
		_, r.Arch, _ = strings.Cut(j.Platform, "/")
		r.Bytes *= 2 // another platform's may be larger than the one that was added up
	}
	return nil
}

// hints are what a job tells of what it needs.
func (p *program) hints(j *Job) []p2p.Hint {
	if j.Hint == HintNone {
		return nil
	}
	var out []p2p.Hint
	add := func(key [32]byte, bytes uint64) {
		if len(out) < p2p.MaxHints {
			out = append(out, p2p.Hint{Key: key[:], Bytes: bytes})
		}
	}
	if r := j.Resolved; r != nil && len(r.Digest) > 0 && j.Registry == nil {
		add(pull.HintImage(digest.NewDigestFromBytes(digest.SHA256, r.Digest)), r.Bytes)
	}
	if j.Hint == HintAll {
		for _, src := range p.sources {
			add(pull.HintFile(src.Root().Bytes()), src.Size())
		}
	}
	return out
}

// String is the image for people; empty if there is none.
func (r *ResolvedImage) String() string {
	switch {
	case r == nil:
		return ""
	case len(r.Digest) == 0:
		return r.Reference
	}
	return r.Reference + "@sha256:" + hex.EncodeToString(r.Digest)
}

// sealable is what is sealed to the machine that got a lease.
func (j *Job) sealable() sealed.Secrets {
	var vars []sealed.Var
	for _, name := range slices.Sorted(maps.Keys(j.Secrets)) {
		vars = append(vars, sealed.Var{Name: name, Value: j.Secrets[name]})
	}
	var login sealed.Registry
	if j.Registry != nil {
		login = sealed.Registry{User: j.Registry.User, Password: j.Registry.Password}
	}
	return sealed.New(vars, login)
}

// sendSecrets hands the job's secrets to the machine that got the lease, until
// its program has started.
func (t *tenancy) sendSecrets() {
	j := &t.r.job
	if len(j.SecretNames) == 0 || t.acked != nil {
		return
	}
	if len(j.Secrets) == 0 && j.Registry == nil {
		if !t.r.told {
			t.r.told = true
			t.warn("this process has no secrets for it: they are kept nowhere, so run the job anew")
		}
		return
	}
	b, err := sealed.Seal(j.sealable(), t.r.c.chain.ChainID(), t.row.LeaseID, t.row.Node)
	if err != nil {
		t.warn(err.Error())
		return
	}
	t.say(&p2p.Secrets{Sealed: b})
}

// pulled takes a provider's word for what an image's name stood for, and holds it,
// and all later ones, to it.
func (t *tenancy) pulled(digest string) {
	r := t.r
	if digest == "" || r.job.Resolved == nil {
		return
	}
	if want := r.job.Resolved.Digest; len(want) > 0 {
		if digest != "sha256:"+hex.EncodeToString(want) {
			r.c.host.Strike(t.info.ID, errors.New("pulled another image than the manifest names"))
			t.warn("it says that it pulled " + digest + ", which is not the image ordered")
		}
		return
	}
	switch r.image {
	case digest:
	case "":
		r.image = digest
		r.emit(Event{Kind: EventStatus, Lease: t.name, Moniker: t.row.Moniker, Text: "pulled " + r.job.Resolved.Reference + "@" + digest})
	default:
		t.warn("it pulled " + digest + " where " + r.image + " was pulled before: the image's name stands for something else now")
	}
}
