package render

import "math"

// Vec is a point, a direction or a linear colour.
type Vec struct{ X, Y, Z float64 }

// Add is the sum.
func (a Vec) Add(b Vec) Vec { return Vec{a.X + b.X, a.Y + b.Y, a.Z + b.Z} }

// Sub is the difference.
func (a Vec) Sub(b Vec) Vec { return Vec{a.X - b.X, a.Y - b.Y, a.Z - b.Z} }

// Mul is the product of each component, as light meets colour.
func (a Vec) Mul(b Vec) Vec { return Vec{a.X * b.X, a.Y * b.Y, a.Z * b.Z} }

// Scale is a times s.
func (a Vec) Scale(s float64) Vec { return Vec{a.X * s, a.Y * s, a.Z * s} }

// Dot is the scalar product.
func (a Vec) Dot(b Vec) float64 { return a.X*b.X + a.Y*b.Y + a.Z*b.Z }

// Len is the length.
func (a Vec) Len() float64 { return math.Sqrt(a.Dot(a)) }

// Max is the largest component.
func (a Vec) Max() float64 { return max(a.X, max(a.Y, a.Z)) }

// Lum is the luminance of a linear colour.
func (a Vec) Lum() float64 { return 0.2126*a.X + 0.7152*a.Y + 0.0722*a.Z }

// Lerp goes from a to b as t goes from 0 to 1.
func (a Vec) Lerp(b Vec, t float64) Vec { return a.Scale(1 - t).Add(b.Scale(t)) }

// Cross is the vector product.
func (a Vec) Cross(b Vec) Vec {
	return Vec{a.Y*b.Z - a.Z*b.Y, a.Z*b.X - a.X*b.Z, a.X*b.Y - a.Y*b.X}
}

// Unit is a scaled to length 1; the zero vector stays.
func (a Vec) Unit() Vec {
	if l := a.Len(); l > 0 {
		return a.Scale(1 / l)
	}
	return a
}

// basis completes a unit vector to an orthonormal frame (Duff et al., "Building
// an Orthonormal Basis, Revisited").
func basis(n Vec) (t, b Vec) {
	sign := math.Copysign(1, n.Z)
	a := -1 / (sign + n.Z)
	c := n.X * n.Y * a
	return Vec{1 + sign*n.X*n.X*a, sign * c, -sign * n.X}, Vec{c, sign + n.Y*n.Y*a, -n.Y}
}

func reflect(d, n Vec) Vec { return d.Sub(n.Scale(2 * d.Dot(n))) }

// refract bends d, which meets the side n points to, by the ratio eta of the
// indices of refraction; false is total reflection.
func refract(d, n Vec, eta float64) (Vec, bool) {
	cos := -d.Dot(n)
	k := 1 - eta*eta*(1-cos*cos)
	if k < 0 {
		return Vec{}, false
	}
	return d.Scale(eta).Add(n.Scale(eta*cos - math.Sqrt(k))), true
}

// rng is PCG32. Each pixel has its own, seeded by its place in the whole image,
// so that a tile has the same pixels whoever renders it.
type rng struct{ state uint64 }

func newRNG(seed uint64, x, y int) rng {
	h := seed ^ uint64(uint32(x))*0x9e3779b97f4a7c15 ^ uint64(uint32(y))*0xc2b2ae3d27d4eb4f
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return rng{h ^ h>>31}
}

func (r *rng) float() float64 {
	old := r.state
	r.state = old*6364136223846793005 + 1442695040888963407
	x := uint32((old>>18 ^ old) >> 27)
	rot := uint32(old >> 59)
	return float64(x>>rot|x<<(-rot&31)) * (1.0 / (1 << 32))
}

// pair is two numbers for one decision of sample i: a low-discrepancy sequence
// (Roberts' R2) shifted by the pixel's own random offset, which converges faster
// than chance.
func pair(i int, ox, oy float64) (float64, float64) {
	x := ox + float64(i)*0.7548776662466927
	y := oy + float64(i)*0.5698402909980532
	return x - math.Floor(x), y - math.Floor(y)
}
