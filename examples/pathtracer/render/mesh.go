package render

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"
)

// Bounds of a mesh file: it is a stranger's input on a machine with little
// memory.
const (
	maxVertices  = 2_000_000
	maxTriangles = 4_000_000
)

// Mesh is a triangle mesh with smooth normals and the tree that finds what a ray
// hits.
type Mesh struct {
	tris  []triangle // in the tree's order
	nodes []node
}

// triangle is a corner and two edges, as the intersection test wants it, and the
// normals at the three corners.
type triangle struct {
	p, e1, e2  Vec
	n0, n1, n2 Vec
}

// node is one box of the bounding volume hierarchy. A leaf has count triangles
// from first; an inner node's children are the next one and first.
type node struct {
	lo, hi [3]float32
	first  int32
	count  int32
	axis   int32
}

// ReadOBJ reads the v and f lines of a Wavefront OBJ; faces may have any number
// of corners. Texture coordinates, materials and given normals are skipped.
func ReadOBJ(r io.Reader) (*Mesh, error) {
	var points []Vec
	var faces [][3]int32
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 64<<10), 64<<10)
	var corner []int32
	for line := 1; scan.Scan(); line++ {
		fields := strings.Fields(scan.Text())
		if len(fields) == 0 {
			continue
		}
		switch fields[0] {
		case "v":
			p, err := parseVec(fields[1:])
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			points = append(points, p)
		case "f":
			corner = corner[:0]
			for _, f := range fields[1:] {
				i, err := vertexIndex(f, len(points))
				if err != nil {
					return nil, fmt.Errorf("line %d: %w", line, err)
				}
				corner = append(corner, i)
			}
			for k := 2; k < len(corner); k++ {
				faces = append(faces, [3]int32{corner[0], corner[k-1], corner[k]})
			}
		}
		if len(points) > maxVertices || len(faces) > maxTriangles {
			return nil, fmt.Errorf("line %d: more than %d vertices or %d triangles", line, maxVertices, maxTriangles)
		}
	}
	if err := scan.Err(); err != nil {
		return nil, err
	}
	if len(faces) == 0 {
		return nil, fmt.Errorf("the mesh has no faces")
	}
	return newMesh(points, faces), nil
}

func parseVec(fields []string) (Vec, error) {
	if len(fields) < 3 {
		return Vec{}, fmt.Errorf("want 3 coordinates, got %d", len(fields))
	}
	var c [3]float64
	for i := range c {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil || math.IsNaN(v) || math.Abs(v) > 1e9 {
			return Vec{}, fmt.Errorf("%q is no coordinate", fields[i])
		}
		c[i] = v
	}
	return Vec{c[0], c[1], c[2]}, nil
}

// vertexIndex reads "7", "7/1/2" or "-1" and returns it from zero.
func vertexIndex(s string, n int) (int32, error) {
	s, _, _ = strings.Cut(s, "/")
	i, err := strconv.Atoi(s)
	if i < 0 {
		i += n + 1
	}
	if err != nil || i < 1 || i > n {
		return 0, fmt.Errorf("%q names no vertex yet defined (there are %d)", s, n)
	}
	return int32(i - 1), nil
}

func newMesh(points []Vec, faces [][3]int32) *Mesh {
	normals := make([]Vec, len(points))
	for _, f := range faces {
		// The unscaled product weighs each face by its area.
		n := points[f[1]].Sub(points[f[0]]).Cross(points[f[2]].Sub(points[f[0]]))
		for _, i := range f {
			normals[i] = normals[i].Add(n)
		}
	}
	for i := range normals {
		normals[i] = normals[i].Unit()
	}
	m := &Mesh{tris: make([]triangle, len(faces))}
	for i, f := range faces {
		a, b, c := points[f[0]], points[f[1]], points[f[2]]
		m.tris[i] = triangle{p: a, e1: b.Sub(a), e2: c.Sub(a), n0: normals[f[0]], n1: normals[f[1]], n2: normals[f[2]]}
	}
	m.build()
	return m
}

// build sorts the triangles into a tree by the surface area heuristic over 12
// bins (Wald, "On fast Construction of SAH-based Bounding Volume Hierarchies").
func (m *Mesh) build() {
	b := builder{mesh: m, centre: make([]Vec, len(m.tris)), box: make([]bounds, len(m.tris)), order: make([]int32, len(m.tris))}
	for i := range m.tris {
		t := &m.tris[i]
		box := emptyBounds().with(t.p).with(t.p.Add(t.e1)).with(t.p.Add(t.e2))
		b.box[i], b.centre[i], b.order[i] = box, box.lo.Add(box.hi).Scale(0.5), int32(i)
	}
	m.nodes = make([]node, 0, 2*len(m.tris))
	b.split(0, len(m.tris), 0)
	sorted := make([]triangle, len(m.tris))
	for i, o := range b.order {
		sorted[i] = m.tris[o]
	}
	m.tris = sorted
}

type bounds struct{ lo, hi Vec }

func emptyBounds() bounds {
	inf := math.Inf(1)
	return bounds{Vec{inf, inf, inf}, Vec{-inf, -inf, -inf}}
}

func (b bounds) with(p Vec) bounds {
	return bounds{
		Vec{math.Min(b.lo.X, p.X), math.Min(b.lo.Y, p.Y), math.Min(b.lo.Z, p.Z)},
		Vec{math.Max(b.hi.X, p.X), math.Max(b.hi.Y, p.Y), math.Max(b.hi.Z, p.Z)},
	}
}

func (b bounds) union(c bounds) bounds { return b.with(c.lo).with(c.hi) }

func (b bounds) area() float64 {
	d := b.hi.Sub(b.lo)
	if d.X < 0 {
		return 0
	}
	return d.X*d.Y + d.Y*d.Z + d.Z*d.X
}

type builder struct {
	mesh   *Mesh
	centre []Vec
	box    []bounds
	order  []int32
}

const (
	bins     = 12
	leafSize = 4
	maxDepth = 40
)

// split makes the node for triangles [from, to) and everything below it.
func (b *builder) split(from, to, depth int) {
	box, centres := emptyBounds(), emptyBounds()
	for _, o := range b.order[from:to] {
		box = box.union(b.box[o])
		centres = centres.with(b.centre[o])
	}
	at := len(b.mesh.nodes)
	b.mesh.nodes = append(b.mesh.nodes, node{lo: down(box.lo), hi: up(box.hi), first: int32(from), count: int32(to - from)})
	if to-from <= leafSize || depth >= maxDepth {
		return
	}
	axis, cut, ok := b.bestCut(from, to, centres, box.area())
	if !ok {
		return
	}
	part := b.order[from:to]
	mid := from + partition(part, func(o int32) bool { return component(b.centre[o], axis) < cut })
	if mid == from || mid == to {
		sort.Slice(part, func(i, j int) bool { return component(b.centre[part[i]], axis) < component(b.centre[part[j]], axis) })
		mid = (from + to) / 2
	}
	b.split(from, mid, depth+1)
	n := &b.mesh.nodes[at]
	n.count, n.axis = 0, int32(axis)
	n.first = int32(len(b.mesh.nodes))
	b.split(mid, to, depth+1)
}

func (b *builder) bestCut(from, to int, centres bounds, area float64) (axis int, cut float64, ok bool) {
	best := float64(to-from) * area // the price of a leaf
	for a := range 3 {
		lo, hi := component(centres.lo, a), component(centres.hi, a)
		if hi-lo < 1e-12 {
			continue
		}
		var box [bins]bounds
		var count [bins]int
		for i := range box {
			box[i] = emptyBounds()
		}
		scale := bins / (hi - lo)
		for _, o := range b.order[from:to] {
			k := min(int((component(b.centre[o], a)-lo)*scale), bins-1)
			box[k] = box[k].union(b.box[o])
			count[k]++
		}
		var right [bins]float64
		acc, n := emptyBounds(), 0
		for k := bins - 1; k > 0; k-- {
			acc, n = acc.union(box[k]), n+count[k]
			right[k] = acc.area() * float64(n)
		}
		acc, n = emptyBounds(), 0
		for k := 1; k < bins; k++ {
			acc, n = acc.union(box[k-1]), n+count[k-1]
			if price := area + acc.area()*float64(n) + right[k]; price < best {
				best, axis, cut, ok = price, a, lo+float64(k)/scale, true
			}
		}
	}
	return axis, cut, ok
}

func partition(s []int32, left func(int32) bool) int {
	n := 0
	for i, o := range s {
		if left(o) {
			s[i], s[n] = s[n], s[i]
			n++
		}
	}
	return n
}

func component(v Vec, axis int) float64 {
	switch axis {
	case 0:
		return v.X
	case 1:
		return v.Y
	}
	return v.Z
}

// down and up round to single precision outwards, so that no box loses what it
// holds.
func down(v Vec) [3]float32 { return outward(v, float32(math.Inf(-1))) }
func up(v Vec) [3]float32   { return outward(v, float32(math.Inf(1))) }

func outward(v Vec, to float32) [3]float32 {
	var out [3]float32
	for i := range out {
		out[i] = math.Nextafter32(float32(component(v, i)), to)
	}
	return out
}

// meshHit is where a ray met a mesh.
type meshHit struct {
	t, u, v float64
	tri     int32
}

// intersect finds the nearest hit between tMin and tMax, or any hit if anyHit.
// It is the renderer's innermost loop and one function on purpose: compiled to
// WebAssembly, Go's calls are dear.
func (m *Mesh) intersect(o, d Vec, tMin, tMax float64, anyHit bool) (hit meshHit, ok bool) {
	ix, iy, iz := 1/d.X, 1/d.Y, 1/d.Z
	var stack [maxDepth + 8]int32
	sp := 0
	at := int32(0)
	hit.t = tMax
	nodes, tris := m.nodes, m.tris
	for {
		n := &nodes[at]
		x0, x1 := (float64(n.lo[0])-o.X)*ix, (float64(n.hi[0])-o.X)*ix
		y0, y1 := (float64(n.lo[1])-o.Y)*iy, (float64(n.hi[1])-o.Y)*iy
		z0, z1 := (float64(n.lo[2])-o.Z)*iz, (float64(n.hi[2])-o.Z)*iz
		if x0 > x1 {
			x0, x1 = x1, x0
		}
		if y0 > y1 {
			y0, y1 = y1, y0
		}
		if z0 > z1 {
			z0, z1 = z1, z0
		}
		if y0 > x0 {
			x0 = y0
		}
		if z0 > x0 {
			x0 = z0
		}
		if y1 < x1 {
			x1 = y1
		}
		if z1 < x1 {
			x1 = z1
		}
		if x0 <= x1 && x1 >= tMin && x0 <= hit.t {
			if n.count == 0 {
				near, far := at+1, n.first
				if n.axis == 0 && ix < 0 || n.axis == 1 && iy < 0 || n.axis == 2 && iz < 0 {
					near, far = far, near
				}
				stack[sp] = far
				sp++
				at = near
				continue
			}
			for i := n.first; i < n.first+n.count; i++ {
				tr := &tris[i]
				// Möller and Trumbore's test.
				px := d.Y*tr.e2.Z - d.Z*tr.e2.Y
				py := d.Z*tr.e2.X - d.X*tr.e2.Z
				pz := d.X*tr.e2.Y - d.Y*tr.e2.X
				det := tr.e1.X*px + tr.e1.Y*py + tr.e1.Z*pz
				if det > -1e-14 && det < 1e-14 {
					continue
				}
				inv := 1 / det
				sx, sy, sz := o.X-tr.p.X, o.Y-tr.p.Y, o.Z-tr.p.Z
				u := (sx*px + sy*py + sz*pz) * inv
				if u < 0 || u > 1 {
					continue
				}
				qx := sy*tr.e1.Z - sz*tr.e1.Y
				qy := sz*tr.e1.X - sx*tr.e1.Z
				qz := sx*tr.e1.Y - sy*tr.e1.X
				v := (d.X*qx + d.Y*qy + d.Z*qz) * inv
				if v < 0 || u+v > 1 {
					continue
				}
				t := (tr.e2.X*qx + tr.e2.Y*qy + tr.e2.Z*qz) * inv
				if t > tMin && t < hit.t {
					hit, ok = meshHit{t, u, v, i}, true
					if anyHit {
						return hit, true
					}
				}
			}
		}
		if sp == 0 {
			return hit, ok
		}
		sp--
		at = stack[sp]
	}
}

// normals returns the smooth and the true normal at a hit.
func (m *Mesh) normals(h meshHit) (smooth, flat Vec) {
	t := &m.tris[h.tri]
	smooth = t.n0.Scale(1 - h.u - h.v).Add(t.n1.Scale(h.u)).Add(t.n2.Scale(h.v)).Unit()
	return smooth, t.e1.Cross(t.e2).Unit()
}
