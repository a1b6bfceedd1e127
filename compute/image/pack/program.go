package pack

import (
	"errors"
	"os"
	"runtime"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Program writes at path, as `docker save` would, an image of nothing but a static
// program of this machine's: the file program, under name, started with args.
func Program(path, program, name string, args ...string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	layer, err := Layer(Executable(name, content))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = Docker(f, Image{
		Architecture: runtime.GOARCH, Layers: [][]byte{layer},
		Config: ocispec.ImageConfig{Entrypoint: append([]string{"/" + name}, args...)},
	})
	return errors.Join(err, f.Close())
}
