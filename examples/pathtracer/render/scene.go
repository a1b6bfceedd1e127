// Package render is a small path tracer: meshes and spheres, matte, metal, glass
// and glazed materials, a sky with a sun, rectangular lamps, and a filter that
// cleans the last noise. Any rectangle of the image can be rendered on its own
// and comes out the same to the bit, which is what lets strangers share the work.
//
// It is an example of a workload and depends on the standard library only.
package render

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Scene is a parsed scene file.
type Scene struct {
	Width, Height int
	Samples       int // paths per pixel
	Depth         int // bounces
	Seed          uint64
	Exposure      float64

	camera    camera
	sky       sky
	lamps     []lamp
	spheres   []sphere
	planes    []plane
	instances []instance
	materials map[string]*material
	meshes    map[string]*Mesh
}

type camera struct {
	eye, look, up     Vec
	fov               float64 // vertical, degrees
	aperture, focus   float64
	right, down, into Vec // derived: the image plane at distance 1
}

type sky struct {
	zenith, horizon, ground Vec
	sun                     Vec // direction towards it
	sunColor                Vec // radiance
	sunCos                  float64
	glow                    float64
}

// lamp is a rectangle that shines to the side of u × v.
type lamp struct {
	corner, u, v, normal, color Vec
	area                        float64
}

type sphere struct {
	centre Vec
	radius float64
	mat    *material
}

type plane struct {
	y   float64
	mat *material
}

// instance is a mesh turned about the vertical, scaled and moved.
type instance struct {
	mesh     *Mesh
	at       Vec
	scale    float64
	cos, sin float64
	mat      *material
	centre   Vec // of a sphere around it all, tested before anything dearer
	radius   float64
}

type kind int

const (
	matte   kind = iota
	metal        // colour, roughness
	glass        // colour, index of refraction
	glazed       // matte below a thin clear coat
	shining      // a lamp
)

type material struct {
	kind   kind
	color  Vec
	color2 Vec     // of checkers, or of the dark parts of stone
	check  float64 // edge of a checker field, 0 for none
	grain  float64 // frequency of stone's noise, 0 for none
	rough  float64
	ior    float64
}

// Opener opens a file named in a scene.
type Opener func(name string) (io.ReadCloser, error)

// Parse reads a scene: one statement per line, "keyword name=value …", "#" for
// comments. Meshes are opened through open.
func Parse(r io.Reader, open Opener) (*Scene, error) {
	s := &Scene{
		Width: 640, Height: 480, Samples: 16, Depth: 5, Exposure: 1,
		camera:    camera{eye: Vec{0, 1, 5}, up: Vec{0, 1, 0}, fov: 40, focus: 5},
		sky:       sky{zenith: Vec{0.3, 0.5, 0.9}, horizon: Vec{0.9, 0.9, 0.9}, ground: Vec{0.2, 0.2, 0.2}, sun: Vec{0, 1, 0}, sunCos: 2},
		materials: map[string]*material{},
		meshes:    map[string]*Mesh{},
	}
	scan := bufio.NewScanner(r)
	for line := 1; scan.Scan(); line++ {
		text, _, _ := strings.Cut(scan.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		a := newArgs(fields[1:])
		if err := s.statement(fields[0], a, open); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", line, fields[0], err)
		}
		if err := a.finish(); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", line, fields[0], err)
		}
	}
	if err := scan.Err(); err != nil {
		return nil, err
	}
	s.aim()
	return s, s.validate()
}

func (s *Scene) validate() error {
	const maxPixels = 64 << 20
	switch {
	case s.Width < 1 || s.Height < 1 || s.Width > maxPixels/s.Height:
		return fmt.Errorf("image: %d by %d pixels is out of bounds", s.Width, s.Height)
	case s.Samples < 1 || s.Samples > 1<<16:
		return fmt.Errorf("image: %d samples is out of bounds", s.Samples)
	case s.Depth < 1 || s.Depth > 64:
		return fmt.Errorf("image: depth %d is out of bounds", s.Depth)
	}
	return nil
}

func (s *Scene) statement(word string, a *args, open Opener) error {
	switch word {
	case "image":
		s.Width, s.Height = a.integer("width", s.Width), a.integer("height", s.Height)
		s.Samples, s.Depth = a.integer("samples", s.Samples), a.integer("depth", s.Depth)
		s.Seed = uint64(a.integer("seed", 1))
		s.Exposure = a.number("exposure", s.Exposure)
	case "camera":
		c := &s.camera
		c.eye, c.look, c.up = a.vec("eye", c.eye), a.vec("look", c.look), a.vec("up", c.up)
		c.fov, c.aperture = a.number("fov", c.fov), a.number("aperture", 0)
		c.focus = a.number("focus", c.look.Sub(c.eye).Len())
	case "sky":
		k := &s.sky
		k.zenith, k.horizon, k.ground = a.vec("zenith", k.zenith), a.vec("horizon", k.horizon), a.vec("ground", k.ground)
	case "sun":
		k := &s.sky
		k.sun, k.sunColor = a.vec("towards", k.sun).Unit(), a.vec("color", Vec{1, 1, 1})
		k.sunCos = math.Cos(a.number("size", 2) / 2 * math.Pi / 180)
		k.glow = a.number("glow", 0)
	case "lamp":
		l := lamp{corner: a.vec("corner", Vec{}), u: a.vec("u", Vec{1, 0, 0}), v: a.vec("v", Vec{0, 0, 1}), color: a.vec("color", Vec{1, 1, 1})}
		n := l.u.Cross(l.v)
		l.area, l.normal = n.Len(), n.Unit()
		if l.area == 0 {
			return fmt.Errorf("u and v span no area")
		}
		s.lamps = append(s.lamps, l)
	case "material":
		return s.material(a)
	case "sphere":
		mat, err := s.find(a.word("material", ""))
		s.spheres = append(s.spheres, sphere{a.vec("at", Vec{}), a.number("radius", 1), mat})
		return err
	case "floor":
		mat, err := s.find(a.word("material", ""))
		s.planes = append(s.planes, plane{a.number("y", 0), mat})
		return err
	case "mesh":
		return s.mesh(a, open)
	default:
		return fmt.Errorf("no such statement (image, camera, sky, sun, lamp, material, sphere, floor, mesh)")
	}
	return nil
}

func (s *Scene) material(a *args) error {
	kinds := map[string]kind{"matte": matte, "metal": metal, "glass": glass, "glazed": glazed}
	word := a.word("kind", "matte")
	k, ok := kinds[word]
	if !ok {
		return fmt.Errorf("kind %q is none of matte, metal, glass, glazed", word)
	}
	color := a.vec("color", Vec{0.8, 0.8, 0.8})
	s.materials[a.word("name", "")] = &material{
		kind: k, color: color, color2: a.vec("color2", color), check: a.number("check", 0),
		grain: a.number("grain", 0), rough: a.number("rough", 0), ior: a.number("ior", 1.5),
	}
	return nil
}

func (s *Scene) find(name string) (*material, error) {
	m, ok := s.materials[name]
	if !ok {
		return nil, fmt.Errorf("material %q is not defined above", name)
	}
	return m, nil
}

func (s *Scene) mesh(a *args, open Opener) error {
	file := a.word("file", "")
	mat, err := s.find(a.word("material", ""))
	if err != nil {
		return err
	}
	mesh, ok := s.meshes[file]
	if !ok {
		r, err := open(file)
		if err != nil {
			return err
		}
		defer r.Close()
		if mesh, err = ReadOBJ(r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		s.meshes[file] = mesh
	}
	sin, cos := math.Sincos(a.number("turn", 0) * math.Pi / 180)
	in := instance{mesh: mesh, at: a.vec("at", Vec{}), scale: a.number("scale", 1), cos: cos, sin: sin, mat: mat}
	if !(in.scale > 0) {
		return fmt.Errorf("scale must be positive")
	}
	box := mesh.nodes[0].box
	lo, hi := Vec{float64(box[0]), float64(box[1]), float64(box[2])}, Vec{float64(box[4]), float64(box[5]), float64(box[6])}
	in.centre = in.at.Add(in.out(lo.Add(hi).Scale(0.5 * in.scale)))
	in.radius = hi.Sub(lo).Len() / 2 * in.scale
	s.instances = append(s.instances, in)
	return nil
}

func (s *Scene) aim() {
	c := &s.camera
	forward := c.look.Sub(c.eye).Unit()
	right := forward.Cross(c.up).Unit()
	down := forward.Cross(right)
	h := math.Tan(c.fov * math.Pi / 360)
	c.into = forward
	c.right = right.Scale(h * float64(s.Width) / float64(s.Height))
	c.down = down.Scale(h)
}

// args are a statement's name=value pairs; the first error is kept.
type args struct {
	values map[string]string
	err    error
}

func newArgs(fields []string) *args {
	a := &args{values: map[string]string{}}
	for _, f := range fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok {
			a.fail(fmt.Errorf("%q is not name=value", f))
		}
		a.values[name] = value
	}
	return a
}

func (a *args) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

func (a *args) word(name, def string) string {
	v, ok := a.values[name]
	if !ok {
		return def
	}
	delete(a.values, name)
	return v
}

func (a *args) number(name string, def float64) float64 {
	v := a.word(name, "")
	if v == "" {
		return def
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		a.fail(fmt.Errorf("%s=%s is no number", name, v))
		return def
	}
	return f
}

func (a *args) integer(name string, def int) int {
	v := a.word(name, "")
	if v == "" {
		return def
	}
	i, err := strconv.Atoi(v)
	if err != nil || i < 0 {
		a.fail(fmt.Errorf("%s=%s is no whole number", name, v))
		return def
	}
	return i
}

func (a *args) vec(name string, def Vec) Vec {
	v := a.word(name, "")
	if v == "" {
		return def
	}
	p, err := parseVec(strings.Split(v, ","))
	if err != nil {
		a.fail(fmt.Errorf("%s=%s: %w", name, v, err))
		return def
	}
	return p
}

// finish reports the first error, or a name that no one asked for.
func (a *args) finish() error {
	if a.err != nil {
		return a.err
	}
	for name := range a.values {
		return fmt.Errorf("unknown setting %q", name)
	}
	return nil
}
