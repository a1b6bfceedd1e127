// Command pathtracer renders one tile of a scene, as one part of an array job:
//
//	GOOS=wasip1 GOARCH=wasm go build -o pathtracer.wasm ./examples/pathtracer
//	moyai run --array 0-23 --parallel 3 --input scene=examples/pathtracer/scene \
//	    --output tiles pathtracer.wasm -- -scene /in/scene/moai.scene -grid 6x4
//
// The part is named by MOYAI_INDEX. It also runs natively, where "-tile all"
// renders the whole image.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/moyai-network/moyai/examples/pathtracer/render"
	"github.com/moyai-network/moyai/examples/pathtracer/tiles"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pathtracer:", err)
		os.Exit(1)
	}
}

func run() error {
	sceneFile := flag.String("scene", "/in/scene/moai.scene", "scene `file`; meshes are looked for beside it")
	gridFlag := flag.String("grid", "6x4", "`COLUMNSxROWS` of tiles")
	tile := flag.String("tile", os.Getenv("MOYAI_INDEX"), "number of the tile, or all")
	out := flag.String("out", "/out", "`folder` for the result")
	samples := flag.Int("samples", 0, "paths per pixel, if not the scene's")
	flag.Parse()

	grid, err := tiles.ParseGrid(*gridFlag)
	if err != nil {
		return err
	}
	if *tile == "all" {
		grid, *tile = tiles.Grid{Columns: 1, Rows: 1}, "0"
	}
	index, err := strconv.Atoi(*tile)
	if err != nil {
		return errors.New("no tile given: set MOYAI_INDEX or -tile")
	}
	start := time.Now()
	fmt.Printf("tile %d of %d: rendering\n", index, grid.Len())
	scene, err := load(*sceneFile)
	if err != nil {
		return err
	}
	if *samples > 0 {
		scene.Samples = *samples
	}
	loaded := time.Since(start)
	rect, err := grid.Rect(index, scene.Width, scene.Height)
	if err != nil {
		return err
	}
	img := scene.Tile(rect)
	var encoded bytes.Buffer
	if err := png.Encode(&encoded, img); err != nil {
		return err
	}
	name := filepath.Join(*out, tiles.Name(index))
	if err := os.WriteFile(name, encoded.Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Printf("tile %d of %d: %d×%d pixels, %d samples each, %.2f s (%.2f s to load the scene)\n",
		index, grid.Len(), rect.Dx(), rect.Dy(), scene.Samples, time.Since(start).Seconds(), loaded.Seconds())
	return nil
}

func load(name string) (*render.Scene, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	scene, err := render.Parse(f, func(mesh string) (io.ReadCloser, error) {
		if !filepath.IsLocal(mesh) {
			return nil, fmt.Errorf("mesh %q is not beside the scene", mesh)
		}
		return os.Open(filepath.Join(filepath.Dir(name), mesh))
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return scene, nil
}
