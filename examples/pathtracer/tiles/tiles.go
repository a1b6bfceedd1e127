// Package tiles is how the path tracer's image is cut into the parts of an array
// job and put together again.
package tiles

import (
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Grid is a division into Columns × Rows tiles, numbered row by row from the
// upper left.
type Grid struct{ Columns, Rows int }

// ParseGrid reads "6x4".
func ParseGrid(s string) (Grid, error) {
	c, r, ok := strings.Cut(s, "x")
	columns, err1 := strconv.Atoi(c)
	rows, err2 := strconv.Atoi(r)
	if !ok || errors.Join(err1, err2) != nil || columns < 1 || rows < 1 || columns > 1000 || rows > 1000 {
		return Grid{}, fmt.Errorf("grid %q is not COLUMNSxROWS, like 6x4", s)
	}
	return Grid{columns, rows}, nil
}

// Len is the number of tiles.
func (g Grid) Len() int { return g.Columns * g.Rows }

// Rect is tile i of an image of the given size. Tiles cover it without overlap.
func (g Grid) Rect(i, width, height int) (image.Rectangle, error) {
	if i < 0 || i >= g.Len() {
		return image.Rectangle{}, fmt.Errorf("there is no tile %d of %d", i, g.Len())
	}
	c, r := i%g.Columns, i/g.Columns
	return image.Rect(c*width/g.Columns, r*height/g.Rows, (c+1)*width/g.Columns, (r+1)*height/g.Rows), nil
}

// Name is the file name of tile i.
func Name(i int) string { return fmt.Sprintf("tile-%03d.png", i) }

// Assemble finds every tile of the grid in or below dir and writes the whole
// image to the file out.
func Assemble(dir string, g Grid, out string) error {
	found, err := find(dir)
	if err != nil {
		return err
	}
	whole, err := Load(g, func(i int) string {
		if path, ok := found[Name(i)]; ok {
			return path
		}
		return filepath.Join(dir, Name(i)) // whose absence the error then names
	})
	if err != nil {
		return err
	}
	return Write(out, whole)
}

// Load reads the tiles of a grid, each from the path given for its number, and
// puts them together.
func Load(g Grid, path func(i int) string) (image.Image, error) {
	parts := make([]image.Image, g.Len())
	for i := range parts {
		var err error
		if parts[i], err = read(path(i)); err != nil {
			return nil, err
		}
	}
	return Join(g, parts)
}

// Join puts the tiles of a grid together.
func Join(g Grid, parts []image.Image) (image.Image, error) {
	if len(parts) != g.Len() {
		return nil, fmt.Errorf("%d tiles for a grid of %d", len(parts), g.Len())
	}
	var width, height int
	for c := range g.Columns {
		width += parts[c].Bounds().Dx()
	}
	for r := range g.Rows {
		height += parts[r*g.Columns].Bounds().Dy()
	}
	whole := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i, part := range parts {
		rect, err := g.Rect(i, width, height)
		if err != nil {
			return nil, err
		}
		if part.Bounds().Size() != rect.Size() {
			return nil, fmt.Errorf("tile %d has %v pixels, want %v: is it of another grid?", i, part.Bounds().Size(), rect.Size())
		}
		draw.Draw(whole, rect, part, part.Bounds().Min, draw.Src)
	}
	return whole, nil
}

func find(dir string) (map[string]string, error) {
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasPrefix(d.Name(), "tile-") {
			found[d.Name()] = path
		}
		return err
	})
	return found, err
}

func read(path string) (image.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return img, nil
}

// Write encodes img as PNG.
func Write(path string, img image.Image) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = png.Encode(f, img)
	return errors.Join(err, f.Close())
}
