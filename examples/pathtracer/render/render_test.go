package render

import (
	"fmt"
	"image"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func exampleScene(t testing.TB) *Scene {
	t.Helper()
	f, err := os.Open("../scene/moai.scene")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := Parse(f, func(name string) (io.ReadCloser, error) { return os.Open(filepath.Join("../scene", name)) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTilesJoinWithoutSeam is what an array job relies on: a tile rendered alone
// has the pixels that it has in the whole image.
func TestTilesJoinWithoutSeam(t *testing.T) {
	s := exampleScene(t)
	s.Width, s.Height, s.Samples = 60, 40, 3
	s.aim()
	whole := s.Tile(image.Rect(0, 0, 60, 40))
	for _, rect := range []image.Rectangle{image.Rect(0, 0, 20, 20), image.Rect(20, 13, 41, 33), image.Rect(59, 39, 60, 40), image.Rect(40, 20, 99, 99)} {
		tile := exampleSceneAt(t, 60, 40, 3).Tile(rect)
		for y := tile.Rect.Min.Y; y < tile.Rect.Max.Y; y++ {
			for x := tile.Rect.Min.X; x < tile.Rect.Max.X; x++ {
				if tile.NRGBAAt(x, y) != whole.NRGBAAt(x, y) {
					t.Fatalf("pixel %d,%d of tile %v is %v, in the whole it is %v", x, y, rect, tile.NRGBAAt(x, y), whole.NRGBAAt(x, y))
				}
			}
		}
	}
}

func exampleSceneAt(t testing.TB, w, h, samples int) *Scene {
	s := exampleScene(t)
	s.Width, s.Height, s.Samples = w, h, samples
	s.aim()
	return s
}

// TestImageShowsSomething guards against a black or burnt-out picture.
func TestImageShowsSomething(t *testing.T) {
	img := exampleSceneAt(t, 48, 32, 2).Tile(image.Rect(0, 0, 48, 32))
	seen := map[uint8]bool{}
	var sum int
	for i := 0; i < len(img.Pix); i += 4 {
		seen[img.Pix[i]] = true
		sum += int(img.Pix[i])
	}
	if mean := sum / (48 * 32); mean < 60 || mean > 220 || len(seen) < 40 {
		t.Errorf("mean red %d with %d shades", mean, len(seen))
	}
}

// TestTreeFindsWhatLookingAtAllFinds compares the tree with the obvious loop.
func TestTreeFindsWhatLookingAtAllFinds(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	random := func() Vec { return Vec{r.Float64()*2 - 1, r.Float64()*2 - 1, r.Float64()*2 - 1} }
	var points []Vec
	var faces [][3]int32
	for i := range int32(300) {
		p := random()
		points = append(points, p, p.Add(random().Scale(0.2)), p.Add(random().Scale(0.2)))
		faces = append(faces, [3]int32{3 * i, 3*i + 1, 3*i + 2})
	}
	m := newMesh(points, faces)
	hits := 0
	for range 8000 {
		o, d := random().Scale(3), random().Unit()
		if r.IntN(4) == 0 { // along an axis, where slabs divide by zero
			d = []Vec{{1, 0, 0}, {0, -1, 0}, {0, 0, 1}}[r.IntN(3)]
		}
		got, ok := m.intersect(o, d, math.Inf(1), false)
		want := meshHit{t: math.Inf(1)}
		all := node{count: int32(len(m.tris))}
		wantOK := m.leaf(&all, o, d, &want)
		if ok != wantOK || got != want {
			t.Fatalf("seed %d: ray %v %v: tree finds %+v %v, loop finds %+v %v", seed, o, d, got, ok, want, wantOK)
		}
		if _, found := m.intersect(o, d, math.Inf(1), true); found != wantOK {
			t.Fatalf("seed %d: ray %v %v: any hit is %v, want %v", seed, o, d, found, wantOK)
		}
		if ok {
			hits++
		}
	}
	if hits < 50 {
		t.Errorf("seed %d: only %d hits, the test sees too little", seed, hits)
	}
	largest := int32(0)
	for _, n := range m.nodes {
		largest = max(largest, n.count)
	}
	if largest > 16 {
		t.Errorf("a leaf has %d triangles: the tree does not divide", largest)
	}
}

func TestParseRefuses(t *testing.T) {
	none := func(string) (io.ReadCloser, error) { return nil, fmt.Errorf("no files here") }
	for text, want := range map[string]string{
		"teapot at=0,0,0":                         "line 1: teapot: no such statement",
		"\nsphere material=none":                  `line 2: sphere: material "none" is not defined`,
		"camera eye=1,2":                          "want 3 coordinates",
		"camera eye=1,2,NaN":                      `"NaN" is no coordinate`,
		"camera fov=wide":                         "fov=wide is no number",
		"camera colour=1":                         `unknown setting "colour"`,
		"image width":                             `"width" is not name=value`,
		"image width=0":                           "out of bounds",
		"image width=99999999 height=99999":       "out of bounds",
		"image samples=-1":                        "no whole number",
		"material name=m kind=wood":               `kind "wood"`,
		"lamp u=1,0,0 v=2,0,0":                    "span no area",
		"material name=m\nmesh file=x material=m": "no files here",
	} {
		_, err := Parse(strings.NewReader(text), none)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestReadOBJ(t *testing.T) {
	m, err := ReadOBJ(strings.NewReader("# quad\nv 0 0 0\nv 1 0 0\nv 1 1 0 1.0\nv 0 1 0\nvt 0 0\n\nf 1/1 2/1/1 -2 4\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.tris) != 2 {
		t.Errorf("a quad became %d triangles", len(m.tris))
	}
	if h, ok := m.intersect(Vec{0.5, 0.4, 2}, Vec{0, 0, -1}, math.Inf(1), false); !ok || math.Abs(h.t-2) > 1e-6 {
		t.Errorf("hit %+v %v, want one at 2", h, ok)
	}
	for text, want := range map[string]string{
		"":                   "no faces",
		"v 1 2\n":            "line 1: want 3",
		"v 0 0 0\nf 1 2 3":   `line 2: "2" names no vertex`,
		"v 0 0 0\nf 0 1 1":   `"0" names no vertex`,
		"v 0 0 0\nf 1 1 -2":  `"-2" names no vertex`,
		"v 0 0 0\nf 1 1 x/1": `"x" names no vertex`,
		"v 0 0 1e300\n":      "no coordinate",
	} {
		if _, err := ReadOBJ(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func FuzzReadOBJ(f *testing.F) {
	f.Add("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
	f.Add("v 0 0 0\nf 1 1 1 1 1")
	f.Add("f -1 -1 -1")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ReadOBJ(strings.NewReader(text))
		if err == nil { // whatever was accepted can be rendered
			m.intersect(Vec{0.1, 0.2, 3}, Vec{0, 0.1, -1}.Unit(), math.Inf(1), false)
		}
	})
}
