package tiles

import (
	"image"
	"image/color"
	"path/filepath"
	"strings"
	"testing"
)

// TestGridCovers: tiles cover an image exactly once, also where it does not
// divide evenly.
func TestGridCovers(t *testing.T) {
	for _, g := range []Grid{{1, 1}, {6, 4}, {7, 3}, {10, 1}} {
		const w, h = 101, 47
		count := make([]int, w*h)
		for i := range g.Len() {
			rect, err := g.Rect(i, w, h)
			if err != nil {
				t.Fatal(err)
			}
			for y := rect.Min.Y; y < rect.Max.Y; y++ {
				for x := rect.Min.X; x < rect.Max.X; x++ {
					count[y*w+x]++
				}
			}
		}
		for i, n := range count {
			if n != 1 {
				t.Fatalf("grid %v covers pixel %d %d times", g, i, n)
			}
		}
		for _, i := range []int{-1, g.Len()} {
			if _, err := g.Rect(i, w, h); err == nil {
				t.Errorf("grid %v has a tile %d", g, i)
			}
		}
	}
}

func TestParseGrid(t *testing.T) {
	if g, err := ParseGrid("6x4"); err != nil || g != (Grid{6, 4}) {
		t.Errorf("got %v, %v", g, err)
	}
	for _, s := range []string{"", "6", "x", "0x4", "6x-1", "6x4x2", "99999x1"} {
		if g, err := ParseGrid(s); err == nil {
			t.Errorf("%q is taken for %v", s, g)
		}
	}
}

// TestAssemble cuts an image into files in folders of their own, as an array
// job's results come, and puts it together again.
func TestAssemble(t *testing.T) {
	g := Grid{3, 2}
	whole := image.NewNRGBA(image.Rect(0, 0, 20, 11))
	for i := range whole.Pix {
		whole.Pix[i] = uint8(i*7) | 3 // opaque enough to survive PNG
		if i%4 == 3 {
			whole.Pix[i] = 255
		}
	}
	dir := t.TempDir()
	for i := range g.Len() {
		rect, err := g.Rect(i, 20, 11)
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(filepath.Join(dir, Name(i)), whole.SubImage(rect)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out.png")
	if err := Assemble(dir, g, out); err != nil {
		t.Fatal(err)
	}
	got, err := read(out)
	if err != nil {
		t.Fatal(err)
	}
	for y := range 11 {
		for x := range 20 {
			if color.NRGBAModel.Convert(got.At(x, y)) != whole.At(x, y) {
				t.Fatalf("pixel %d,%d is %v, was %v", x, y, got.At(x, y), whole.At(x, y))
			}
		}
	}
	if err := Assemble(dir, Grid{4, 2}, out); err == nil || !strings.Contains(err.Error(), "tile-006.png") {
		t.Errorf("a missing tile: %v", err)
	}
	if err := Assemble(dir, Grid{2, 3}, out); err == nil || !strings.Contains(err.Error(), "another grid") {
		t.Errorf("a foreign grid: %v", err)
	}
}
