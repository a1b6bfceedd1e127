// Command moai writes the statue of the example scene as a Wavefront OBJ: a
// signed distance function turned into triangles by surface nets. The result is
// committed; run this to change it:
//
//	go run ./examples/pathtracer/moai > examples/pathtracer/scene/moai.obj
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
)

type vec struct{ x, y, z float64 }

func (a vec) sub(b vec) vec       { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) dot(b vec) float64   { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vec) mul(s float64) vec   { return vec{a.x * s, a.y * s, a.z * s} }
func (a vec) len() float64        { return math.Sqrt(a.dot(a)) }
func mirrored(p vec) vec          { return vec{math.Abs(p.x), p.y, p.z} }
func clamp01(x float64) float64   { return math.Max(0, math.Min(1, x)) }
func mix(a, b, t float64) float64 { return a + (b-a)*t }

// box is a box with rounded edges: half extents h, radius r within them.
func box(p, centre, h vec, r float64) float64 {
	p = p.sub(centre)
	q := vec{math.Abs(p.x) - h.x + r, math.Abs(p.y) - h.y + r, math.Abs(p.z) - h.z + r}
	outside := vec{math.Max(q.x, 0), math.Max(q.y, 0), math.Max(q.z, 0)}.len()
	return outside + math.Min(math.Max(q.x, math.Max(q.y, q.z)), 0) - r
}

func ellipsoid(p, centre, r vec) float64 {
	p = p.sub(centre)
	k0 := vec{p.x / r.x, p.y / r.y, p.z / r.z}.len()
	k1 := vec{p.x / (r.x * r.x), p.y / (r.y * r.y), p.z / (r.z * r.z)}.len()
	if k1 == 0 {
		return -math.Min(r.x, math.Min(r.y, r.z))
	}
	return k0 * (k0 - 1) / k1
}

// cone is a capsule from a to b whose radius goes from ra to rb.
func cone(p, a, b vec, ra, rb float64) float64 {
	pa, ba := p.sub(a), b.sub(a)
	t := clamp01(pa.dot(ba) / ba.dot(ba))
	return pa.sub(ba.mul(t)).len() - mix(ra, rb, t)
}

// union and carve blend over a distance of k (Quilez, "smooth minimum").
func union(a, b, k float64) float64 {
	h := clamp01(0.5 + 0.5*(b-a)/k)
	return mix(b, a, h) - k*h*(1-h)
}

func carve(a, b, k float64) float64 { return -union(-a, b, k) }

// statue is the distance from p to a figure about 2.3 high that looks along +z.
func statue(p vec) float64 {
	m := mirrored(p)
	// The head leans back and narrows towards the top.
	lean := p
	lean.z += (p.y - 1.1) * 0.10
	narrow := 1 + 0.16*clamp01((p.y-1.3)/0.9)
	lean.x *= narrow
	d := box(lean, vec{0, 1.40, 0}, vec{0.43, 0.84, 0.40}, 0.17) / narrow
	d = union(d, box(lean, vec{0, 0.80, 0.10}, vec{0.41, 0.30, 0.36}, 0.15), 0.10)

	// Eyes: deep hollows below a heavy brow.
	d = carve(d, ellipsoid(m, vec{0.20, 1.50, 0.44}, vec{0.165, 0.125, 0.14}), 0.05)
	d = union(d, box(p, vec{0, 1.70, 0.30}, vec{0.41, 0.085, 0.13}, 0.07), 0.05)
	d = union(d, ellipsoid(m, vec{0.20, 1.47, 0.29}, vec{0.10, 0.06, 0.06}), 0.03)

	// The long nose and its wings.
	d = union(d, cone(p, vec{0, 1.66, 0.36}, vec{0, 1.13, 0.56}, 0.075, 0.115), 0.05)
	d = union(d, ellipsoid(m, vec{0.115, 1.11, 0.47}, vec{0.075, 0.075, 0.09}), 0.04)
	d = carve(d, ellipsoid(m, vec{0.065, 1.02, 0.53}, vec{0.035, 0.035, 0.05}), 0.02)

	// Cheeks fall in, the mouth stands out, the chin juts.
	d = carve(d, ellipsoid(m, vec{0.36, 1.12, 0.46}, vec{0.15, 0.22, 0.13}), 0.10)
	d = union(d, box(p, vec{0, 0.90, 0.42}, vec{0.24, 0.055, 0.09}, 0.05), 0.03)
	d = union(d, box(p, vec{0, 0.775, 0.42}, vec{0.21, 0.055, 0.085}, 0.05), 0.03)
	d = carve(d, box(p, vec{0, 0.838, 0.52}, vec{0.22, 0.012, 0.08}, 0.01), 0.02)
	d = union(d, box(p, vec{0, 0.60, 0.36}, vec{0.27, 0.10, 0.13}, 0.09), 0.06)

	// Long ears, close to the head.
	ears := box(m, vec{0.455, 1.33, -0.02}, vec{0.065, 0.46, 0.12}, 0.05)
	ears = carve(ears, ellipsoid(m, vec{0.53, 1.42, 0.02}, vec{0.04, 0.22, 0.05}), 0.03)
	d = union(d, ears, 0.04)

	// Neck and shoulders, cut off at the ground.
	d = union(d, box(p, vec{0, 0.32, -0.05}, vec{0.36, 0.42, 0.31}, 0.16), 0.12)
	d = union(d, ellipsoid(p, vec{0, 0.06, -0.06}, vec{0.78, 0.42, 0.44}), 0.14)
	d += 0.010*noise(p.mul(9)) + 0.006*noise(p.mul(21))
	return math.Max(d, -p.y)
}

// noise is smooth value noise in [-1, 1].
func noise(p vec) float64 {
	ix, iy, iz := math.Floor(p.x), math.Floor(p.y), math.Floor(p.z)
	fx, fy, fz := smooth(p.x-ix), smooth(p.y-iy), smooth(p.z-iz)
	at := func(dx, dy, dz float64) float64 {
		h := uint32(int32(ix+dx))*374761393 ^ uint32(int32(iy+dy))*668265263 ^ uint32(int32(iz+dz))*2147483647
		h = (h ^ h>>13) * 1274126177
		return float64(h^h>>16)/(1<<31) - 1
	}
	row := func(dy, dz float64) float64 { return mix(at(0, dy, dz), at(1, dy, dz), fx) }
	return mix(mix(row(0, 0), row(1, 0), fy), mix(row(0, 1), row(1, 1), fy), fz)
}

func smooth(t float64) float64 { return t * t * (3 - 2*t) }

// The grid that is sampled: spacing and bounds.
const step = 0.046

var low, high = vec{-0.95, -0.08, -0.65}, vec{0.95, 2.40, 0.80}

func main() {
	w := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(w, "# moai, made by examples/pathtracer/moai")
	nets(w)
	if err := w.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "moai:", err)
		os.Exit(1)
	}
}

// nets writes the surface: one vertex in each cell that the surface crosses, at
// the mean of its crossings, and one quad around each crossed edge (Gibson,
// "Constrained elastic surface nets").
func nets(w *bufio.Writer) {
	n := [3]int{int((high.x-low.x)/step) + 1, int((high.y-low.y)/step) + 1, int((high.z-low.z)/step) + 1}
	point := func(i, j, k int) vec {
		return vec{low.x + float64(i)*step, low.y + float64(j)*step, low.z + float64(k)*step}
	}
	index := func(i, j, k int) int { return (k*n[1]+j)*n[0] + i }
	field := make([]float64, n[0]*n[1]*n[2])
	for k := range n[2] {
		for j := range n[1] {
			for i := range n[0] {
				field[index(i, j, k)] = statue(point(i, j, k))
			}
		}
	}
	vertex := make([]int, len(field))
	count := 0
	for k := 0; k+1 < n[2]; k++ {
		for j := 0; j+1 < n[1]; j++ {
			for i := 0; i+1 < n[0]; i++ {
				v, ok := cellVertex(func(d int) (vec, float64) {
					a, b, c := i+d&1, j+d>>1&1, k+d>>2&1
					return point(a, b, c), field[index(a, b, c)]
				})
				if !ok {
					continue
				}
				count++
				vertex[index(i, j, k)] = count
				fmt.Fprintf(w, "v %.4f %.4f %.4f\n", v.x, math.Max(v.y, 0), v.z)
			}
		}
	}
	quad := func(a, b, c, d int, flip bool) {
		if flip {
			b, d = d, b
		}
		fmt.Fprintf(w, "f %d %d %d %d\n", a, b, c, d)
	}
	for k := 1; k+1 < n[2]; k++ {
		for j := 1; j+1 < n[1]; j++ {
			for i := 1; i+1 < n[0]; i++ {
				at := field[index(i, j, k)]
				v := func(di, dj, dk int) int { return vertex[index(i-di, j-dj, k-dk)] }
				if next := field[index(i+1, j, k)]; (at < 0) != (next < 0) {
					quad(v(0, 1, 1), v(0, 0, 1), v(0, 0, 0), v(0, 1, 0), at >= 0)
				}
				if next := field[index(i, j+1, k)]; (at < 0) != (next < 0) {
					quad(v(1, 0, 1), v(1, 0, 0), v(0, 0, 0), v(0, 0, 1), at >= 0)
				}
				if next := field[index(i, j, k+1)]; (at < 0) != (next < 0) {
					quad(v(1, 1, 0), v(0, 1, 0), v(0, 0, 0), v(1, 0, 0), at >= 0)
				}
			}
		}
	}
}

// cellVertex is the mean of the points where the cell's edges cross the surface.
func cellVertex(corner func(int) (vec, float64)) (vec, bool) {
	var sum vec
	crossings := 0.0
	for a := range 8 {
		for axis := range 3 {
			b := a | 1<<axis
			if b == a {
				continue
			}
			pa, da := corner(a)
			pb, db := corner(b)
			if (da < 0) == (db < 0) {
				continue
			}
			t := da / (da - db)
			sum.x += mix(pa.x, pb.x, t)
			sum.y += mix(pa.y, pb.y, t)
			sum.z += mix(pa.z, pb.z, t)
			crossings++
		}
	}
	if crossings == 0 {
		return vec{}, false
	}
	return sum.mul(1 / crossings), true
}
