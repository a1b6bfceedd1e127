package render

import (
	"bufio"
	"fmt"
	"io"
	"math"
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
	tris    []triangle // in the tree's order
	normals [][3]Vec   // at their corners
	nodes   []node
}

// triangle is a corner and two edges, as the intersection test wants it, and
// small: reading triangles is what rendering spends its time on.
type triangle struct {
	px, py, pz, ax, ay, az, bx, by, bz float32
}

func newTriangle(p, q, r Vec) triangle {
	a, b := q.Sub(p), r.Sub(p)
	return triangle{
		float32(p.X), float32(p.Y), float32(p.Z),
		float32(a.X), float32(a.Y), float32(a.Z), float32(b.X), float32(b.Y), float32(b.Z),
	}
}

// node is one box of the bounding volume hierarchy. A leaf has count triangles
// from first; an inner node's children are the next one and first.
type node struct {
	box   [8]float32 // low x y z, unused, high x y z, unused
	first int32
	count int32
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
	m := &Mesh{tris: make([]triangle, len(faces)), normals: make([][3]Vec, len(faces))}
	boxes := make([]bounds, len(faces))
	for i, f := range faces {
		p, q, r := points[f[0]], points[f[1]], points[f[2]]
		m.tris[i] = newTriangle(p, q, r)
		m.normals[i] = [3]Vec{normals[f[0]], normals[f[1]], normals[f[2]]}
		boxes[i] = emptyBounds()
		boxes[i].add(&p)
		boxes[i].add(&q)
		boxes[i].add(&r)
	}
	m.build(boxes)
	return m
}

// build sorts the triangles into a tree by the surface area heuristic over bins
// of the longest side (Wald, "On fast Construction of SAH-based Bounding Volume
// Hierarchies").
func (m *Mesh) build(boxes []bounds) {
	b := builder{mesh: m, box: boxes, centre: make([]Vec, len(m.tris)), order: make([]int32, len(m.tris))}
	for i := range boxes {
		b.centre[i], b.order[i] = boxes[i].lo.Add(boxes[i].hi).Scale(0.5), int32(i)
	}
	m.nodes = make([]node, 0, 2*len(m.tris))
	b.split(0, len(m.tris), 0)
	tris, normals := make([]triangle, len(m.tris)), make([][3]Vec, len(m.tris))
	for i, o := range b.order {
		tris[i], normals[i] = m.tris[o], m.normals[o]
	}
	m.tris, m.normals = tris, normals
}

type bounds struct{ lo, hi Vec }

func emptyBounds() bounds {
	inf := math.Inf(1)
	return bounds{Vec{inf, inf, inf}, Vec{-inf, -inf, -inf}}
}

func (b *bounds) add(p *Vec) {
	if p.X < b.lo.X {
		b.lo.X = p.X
	}
	if p.X > b.hi.X {
		b.hi.X = p.X
	}
	if p.Y < b.lo.Y {
		b.lo.Y = p.Y
	}
	if p.Y > b.hi.Y {
		b.hi.Y = p.Y
	}
	if p.Z < b.lo.Z {
		b.lo.Z = p.Z
	}
	if p.Z > b.hi.Z {
		b.hi.Z = p.Z
	}
}

// join makes b hold c as well; c may be empty.
func (b *bounds) join(c *bounds) {
	if c.lo.X <= c.hi.X {
		b.add(&c.lo)
		b.add(&c.hi)
	}
}

func (b *bounds) area() float64 {
	d := b.hi.Sub(b.lo)
	if d.X < 0 {
		return 0
	}
	return d.X*d.Y + d.Y*d.Z + d.Z*d.X
}

// longest is the axis along which the box extends most, and from where to where.
func (b *bounds) longest() (axis int, lo, hi float64) {
	d := b.hi.Sub(b.lo)
	switch {
	case d.X >= d.Y && d.X >= d.Z:
		return 0, b.lo.X, b.hi.X
	case d.Y >= d.Z:
		return 1, b.lo.Y, b.hi.Y
	}
	return 2, b.lo.Z, b.hi.Z
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
		box.join(&b.box[o])
		centres.add(&b.centre[o])
	}
	at := len(b.mesh.nodes)
	b.mesh.nodes = append(b.mesh.nodes, node{box: outward(box), first: int32(from), count: int32(to - from)})
	if to-from <= leafSize || depth >= maxDepth {
		return
	}
	axis, cut, ok := b.bestCut(from, to, &centres, box.area())
	if !ok {
		return
	}
	part := b.order[from:to]
	mid := from + partition(part, func(o int32) bool { return component(b.centre[o], axis) < cut })
	if mid == from || mid == to {
		return // rounding put all on one side; a large leaf is slow, not wrong
	}
	b.split(from, mid, depth+1)
	n := &b.mesh.nodes[at]
	n.count, n.first = 0, int32(len(b.mesh.nodes))
	b.split(mid, to, depth+1)
}

func (b *builder) bestCut(from, to int, centres *bounds, area float64) (axis int, cut float64, ok bool) {
	axis, lo, hi := centres.longest()
	if hi-lo < 1e-12 {
		return axis, 0, false
	}
	var box [bins]bounds
	var count [bins]int
	for i := range box {
		box[i] = emptyBounds()
	}
	scale := bins / (hi - lo)
	for _, o := range b.order[from:to] {
		k := int((component(b.centre[o], axis) - lo) * scale)
		if k >= bins {
			k = bins - 1
		}
		box[k].join(&b.box[o])
		count[k]++
	}
	var right [bins]float64
	acc, n := emptyBounds(), 0
	for k := bins - 1; k > 0; k-- {
		acc.join(&box[k])
		n += count[k]
		right[k] = acc.area() * float64(n)
	}
	best := float64(to-from) * area // the price of a leaf
	acc, n = emptyBounds(), 0
	for k := 1; k < bins; k++ {
		acc.join(&box[k-1])
		n += count[k-1]
		if price := area + acc.area()*float64(n) + right[k]; price < best {
			best, cut, ok = price, lo+float64(k)/scale, true
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

// outward rounds to single precision outwards, so that no box loses what it
// holds.
func outward(b bounds) (box [8]float32) {
	for i := range 3 {
		box[i] = math.Nextafter32(float32(component(b.lo, i)), float32(math.Inf(-1)))
		box[4+i] = math.Nextafter32(float32(component(b.hi, i)), float32(math.Inf(1)))
	}
	return box
}

// meshHit is where a ray met a mesh.
type meshHit struct {
	t, u, v float64
	tri     int32
}

// slabs is a ray prepared for tests against boxes: in single precision, which is
// enough for boxes, with the near and far sides already told apart.
type slabs struct {
	ox, oy, oz, ix, iy, iz float32
	nx, ny, nz             int // of the near sides in node.box
}

func newSlabs(o, d Vec) slabs {
	s := slabs{float32(o.X), float32(o.Y), float32(o.Z), inverse(d.X), inverse(d.Y), inverse(d.Z), 0, 1, 2}
	if d.X < 0 {
		s.nx = 4
	}
	if d.Y < 0 {
		s.ny = 5
	}
	if d.Z < 0 {
		s.nz = 6
	}
	return s
}

// inverse avoids infinities, which times zero would be no number.
func inverse(x float64) float32 {
	if x > -1e-20 && x < 1e-20 {
		return 1e20
	}
	return float32(1 / x)
}

// enter is the distance at which the ray enters the box, or false if it passes
// by or comes there after far. Comparisons are spelt out: compiled to
// WebAssembly, min and max are far dearer.
func (s *slabs) enter(box *[8]float32, far float32) (in float32, hit bool) {
	out := (box[s.nx&7^4] - s.ox) * s.ix
	if y := (box[s.ny&7^4] - s.oy) * s.iy; y < out {
		out = y
	}
	if z := (box[s.nz&7^4] - s.oz) * s.iz; z < out {
		out = z
	}
	if out < 0 {
		return 0, false
	}
	in = (box[s.nx&7] - s.ox) * s.ix
	if y := (box[s.ny&7] - s.oy) * s.iy; y > in {
		in = y
	}
	if z := (box[s.nz&7] - s.oz) * s.iz; z > in {
		in = z
	}
	const slack = 1.00001 // for the rounding of single precision
	return in, in <= out*slack && in <= far
}

// intersect finds the nearest hit between epsilon and tMax, or any hit if
// anyHit.
func (m *Mesh) intersect(o, d Vec, tMax float64, anyHit bool) (hit meshHit, ok bool) {
	s := newSlabs(o, d)
	hit.t = tMax
	if _, in := s.enter(&m.nodes[0].box, float32(tMax)); !in {
		return hit, false
	}
	type waiting struct {
		node int32
		t    float32
	}
	var stack [maxDepth + 8]waiting
	sp, at := 0, int32(0)
	nodes := m.nodes
	for {
		n := &nodes[at]
		if n.count == 0 {
			near, far := at+1, n.first
			tn, hitNear := s.enter(&nodes[near].box, float32(hit.t))
			tf, hitFar := s.enter(&nodes[far].box, float32(hit.t))
			switch {
			case hitNear && hitFar:
				if tf < tn {
					near, far, tf = far, near, tn
				}
				stack[sp] = waiting{far, tf}
				sp++
				at = near
				continue
			case hitNear:
				at = near
				continue
			case hitFar:
				at = far
				continue
			}
		} else if m.leaf(n, o, d, &hit) {
			ok = true
			if anyHit {
				return hit, true
			}
		}
		for {
			if sp == 0 {
				return hit, ok
			}
			sp--
			if stack[sp].t <= float32(hit.t) {
				at = stack[sp].node
				break
			}
		}
	}
}

// leaf tests the triangles of a leaf by Möller and Trumbore's method.
func (m *Mesh) leaf(n *node, o, d Vec, hit *meshHit) (ok bool) {
	ox, oy, oz := float32(o.X), float32(o.Y), float32(o.Z)
	dx, dy, dz := float32(d.X), float32(d.Y), float32(d.Z)
	tris := m.tris[n.first : n.first+n.count]
	for i := range tris {
		tr := &tris[i]
		px := dy*tr.bz - dz*tr.by
		py := dz*tr.bx - dx*tr.bz
		pz := dx*tr.by - dy*tr.bx
		inv := 1 / (tr.ax*px + tr.ay*py + tr.az*pz) // infinite if seen edge-on: no comparison below holds
		sx, sy, sz := ox-tr.px, oy-tr.py, oz-tr.pz
		u := (sx*px + sy*py + sz*pz) * inv
		if !(u >= 0 && u <= 1) {
			continue
		}
		qx := sy*tr.az - sz*tr.ay
		qy := sz*tr.ax - sx*tr.az
		qz := sx*tr.ay - sy*tr.ax
		v := (dx*qx + dy*qy + dz*qz) * inv
		if !(v >= 0 && u+v <= 1) {
			continue
		}
		if t := (tr.bx*qx + tr.by*qy + tr.bz*qz) * inv; t > epsilon && float64(t) < hit.t {
			*hit = meshHit{float64(t), float64(u), float64(v), n.first + int32(i)}
			ok = true
		}
	}
	return ok
}

// at returns the smooth and the true normal at a hit.
func (m *Mesh) at(h meshHit) (smooth, flat Vec) {
	n, t := &m.normals[h.tri], &m.tris[h.tri]
	smooth = n[0].Scale(1 - h.u - h.v).Add(n[1].Scale(h.u)).Add(n[2].Scale(h.v)).Unit()
	a, b := Vec{float64(t.ax), float64(t.ay), float64(t.az)}, Vec{float64(t.bx), float64(t.by), float64(t.bz)}
	return smooth, a.Cross(b).Unit()
}
