// Command debimage makes a container image from Debian's packages: no registry, no
// container engine, nothing that Debian did not sign.
//
//	go run ./examples/debimage examples/transcode/image
//
// prints the path of an image archive, which it makes if it is not in the cache.
// A recipe names a package a line, or a package and the one file that is wanted of
// it, and paths to leave out with a dash in front. It
// needs mmdebstrap, and root or user namespaces. It is not a general builder:
// an image is its packages, and what is to be done with them comes as input.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/moyai-network/moyai/compute/image/pack"
)

// epoch is the latest time in an image: whatever is made while the packages are
// installed carries it.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cache := flag.String("cache", filepath.Join(".cache", "images"), "folder of images made before")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: debimage [--cache DIR] RECIPE")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	path, err := ensure(ctx, *cache, flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(path)
}

// ensure returns the image of a recipe, making it if the cache lacks it.
func ensure(ctx context.Context, cache, recipePath string) (string, error) {
	r, err := readRecipe(recipePath)
	if err != nil {
		return "", err
	}
	d, err := findDebian(ctx)
	if err != nil {
		return "", err
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return "", err
	}
	// A recipe lies in the folder of what it is for.
	name := filepath.Base(filepath.Dir(mustAbs(recipePath)))
	path := filepath.Join(cache, name+"-"+r.key(d.suite, runtime.GOARCH)+".tar")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "making the image of %s from Debian's packages; this is done once\n", name)
	begin := time.Now()
	if err := build(ctx, d, r, path); err != nil {
		return "", fmt.Errorf("make the image of %s: %w", name, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "%s: %d MB after %s\n", path, info.Size()/1e6, time.Since(begin).Round(time.Second))
	return path, nil
}

// build writes the whole image or nothing.
func build(ctx context.Context, d debian, r recipe, path string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	log, err := os.Create(path + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	image := pack.Image{Architecture: runtime.GOARCH, Config: ocispec.ImageConfig{
		Env: []string{"LC_ALL=C.UTF-8"}, Cmd: []string{"/bin/sh"},
	}}
	to := bufio.NewWriterSize(f, 1<<20)
	err = d.fileSystem(ctx, r, epoch.Unix(), os.Stderr, log, func(layer io.Reader) error {
		return pack.Stream(to, pack.Tree{Tar: layer, Skip: r.leaves(), Epoch: epoch}, image, filepath.Dir(path))
	})
	if err = errors.Join(err, to.Flush(), f.Chmod(0o644), f.Close()); err != nil {
		return fmt.Errorf("%w (see %s)", err, log.Name())
	}
	return errors.Join(os.Rename(f.Name(), path), os.Remove(log.Name()))
}

func mustAbs(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
