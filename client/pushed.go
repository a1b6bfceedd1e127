package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moyai-network/moyai/compute/manifest"
	"github.com/moyai-network/moyai/p2p/content"
)

// ErrNoImage: nothing was pushed under that name.
var ErrNoImage = errors.New("no such image was pushed")

// Pushed is an image archive that this home keeps, ready to be handed to whichever
// provider runs it: by content, without a registry. A provider that has had it
// before, from whatever lease, is sent nothing.
type Pushed struct {
	Name  string    `json:"name"`
	ID    string    `json:"id"` // its content identifier
	Bytes uint64    `json:"bytes"`
	Time  time.Time `json:"pushed"`
	Path  string    `json:"path"`
}

func pushedDir(home string) string { return filepath.Join(home, "images") }

// PushImage copies an archive into the home under a name; empty: the file's. What
// had the name before is replaced.
//
// Errors: ErrBadJob if it is no image.
func PushImage(ctx context.Context, home, path, name string) (Pushed, error) {
	runtime, err := checkModule(path)
	if err == nil && runtime != manifest.RuntimeContainer {
		err = errors.New("it is a WebAssembly module, which needs no pushing: run it")
	}
	if err != nil {
		return Pushed{}, fmt.Errorf("%w: %s: %w", ErrBadJob, path, err)
	}
	if name == "" {
		name, _, _ = strings.Cut(filepath.Base(path), ".")
	}
	if err := manifest.ValidateVolumeName(name); err != nil {
		return Pushed{}, fmt.Errorf("%w: name %q: use letters, digits, '.', '_' and '-'", ErrBadJob, name)
	}
	dir := pushedDir(home)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Pushed{}, err
	}
	p := Pushed{Name: name, Time: time.Now(), Path: filepath.Join(dir, name+".image")}
	if p.Path, err = filepath.Abs(p.Path); err != nil {
		return Pushed{}, err
	}
	partial := p.Path + ".partial"
	defer os.Remove(partial)
	if err := copyWhole(path, partial); err != nil {
		return Pushed{}, fmt.Errorf("push %s: %w", path, err)
	}
	src, err := content.Build(ctx, partial)
	if err != nil {
		return Pushed{}, err
	}
	p.ID, p.Bytes = src.Root().String(), src.Size()
	note, err := json.Marshal(p)
	if err != nil {
		return Pushed{}, err
	}
	return p, errors.Join(os.Rename(partial, p.Path), os.WriteFile(filepath.Join(dir, name+".json"), note, 0o600))
}

func copyWhole(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// PushedImage finds a pushed image by its name. ErrNoImage.
func PushedImage(home, name string) (Pushed, error) {
	var p Pushed
	if manifest.ValidateVolumeName(name) != nil {
		return p, fmt.Errorf("%w: %s", ErrNoImage, name)
	}
	b, err := os.ReadFile(filepath.Join(pushedDir(home), name+".json"))
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err == nil {
		_, err = os.Stat(p.Path)
	}
	if err != nil {
		return Pushed{}, fmt.Errorf("%w: %s", ErrNoImage, name)
	}
	return p, nil
}

// PushedImages lists them by name.
func PushedImages(home string) ([]Pushed, error) {
	notes, err := filepath.Glob(filepath.Join(pushedDir(home), "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(notes)
	out := []Pushed{}
	for _, n := range notes {
		if p, err := PushedImage(home, strings.TrimSuffix(filepath.Base(n), ".json")); err == nil {
			out = append(out, p)
		}
	}
	return out, nil
}

// RemovePushed forgets a pushed image. Jobs that wait for it can no longer be
// bought. ErrNoImage.
func RemovePushed(home, name string) error {
	p, err := PushedImage(home, name)
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(filepath.Join(pushedDir(home), name+".json")), os.Remove(p.Path))
}
