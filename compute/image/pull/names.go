// Package pull has container images from registries: it finds out what a
// name stands for, and pulls all of it into a folder that a runtime takes for an
// image (an OCI layout).
//
// Whoever wrote the name and whoever runs the registry may be hostile. Every
// byte is bounded before it is asked for and verified while it comes; only
// public addresses are dialled unless the machine's owner named the host; and
// what is pulled is only stored: what the layers hold is for the runtime to
// judge, as it judges archives.
//
// It unpacks nothing and pushes nothing.
package pull

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
)

// Sentinels. Texts wrapped around them are for people.
var (
	// ErrBadName: it is no name of an image.
	ErrBadName = errors.New("not the name of an image")
	// ErrNotFound: the registry has no such image, or hides it.
	ErrNotFound = errors.New("image not found")
	// ErrUnauthorized: the registry wants other credentials.
	ErrUnauthorized = errors.New("the registry refuses the credentials")
	// ErrPlatform: the image is not for this machine.
	ErrPlatform = errors.New("image is for other machines")
	// ErrMismatch: what came is not what its digest says.
	ErrMismatch = errors.New("the registry sent something else than the digest names")
	// ErrTooLarge: there is more of it than is allowed.
	ErrTooLarge = errors.New("image is too large")
	// ErrBadImage: what came is no image.
	ErrBadImage = errors.New("not an image that can be run")
	// ErrPrivate: the registry is at an address that is not public.
	ErrPrivate = errors.New("the registry is not at a public address")
	// ErrUnreachable: the registry did not answer, or broke off. Try again later.
	ErrUnreachable = errors.New("the registry cannot be reached")
)

// Credentials are shown to a registry. The zero value is nobody.
type Credentials struct{ User, Password string }

// IsZero reports that there are none.
func (c Credentials) IsZero() bool { return c == Credentials{} }

func (c Credentials) authenticator() authn.Authenticator {
	if c.IsZero() {
		return authn.Anonymous
	}
	return &authn.Basic{Username: c.User, Password: c.Password}
}

// FromDocker is the login that docker has on this machine for a name's registry;
// nobody if it has none.
func FromDocker(n Name) (Credentials, error) {
	reg, err := name.NewRegistry(n.Host(), name.WeakValidation)
	if err != nil {
		return Credentials{}, fmt.Errorf("%w: %.200q", ErrBadName, n.Reference)
	}
	who, err := authn.DefaultKeychain.Resolve(reg)
	if err != nil {
		return Credentials{}, fmt.Errorf("docker's login for %s: %w", n.Host(), err)
	}
	c, err := who.Authorization()
	if err != nil {
		return Credentials{}, fmt.Errorf("docker's login for %s: %w", n.Host(), err)
	}
	return Credentials{User: c.Username, Password: c.Password}, nil
}

// Name is an image's name taken apart, with nothing left out.
type Name struct {
	Reference string        // host/repository:tag
	Digest    digest.Digest // empty if the name has none
}

// Host is the registry's.
func (n Name) Host() string {
	host, _, _ := strings.Cut(n.Reference, "/")
	return host
}

// Parse reads a name as people and engines write it: "python:3.12" is Docker
// Hub's, without a tag it is "latest", and a digest may follow.
//
// Errors: ErrBadName.
func Parse(text string) (Name, error) {
	rest, hash, pinned := strings.Cut(text, "@")
	tag, err := name.NewTag(rest, name.WeakValidation)
	if err != nil || strings.HasPrefix(rest, ".") {
		return Name{}, fmt.Errorf("%w: %.200q: write it like python:3.12 or ghcr.io/owner/name:tag", ErrBadName, text)
	}
	n := Name{Reference: tag.Name()}
	if pinned {
		if n.Digest = digest.Digest(hash); n.Digest.Validate() != nil || n.Digest.Algorithm() != digest.SHA256 {
			return Name{}, fmt.Errorf("%w: %.200q: what follows the @ is no SHA-256 digest", ErrBadName, text)
		}
	}
	return n, nil
}
