package render

import "math"

// hit is what a ray met.
type hit struct {
	t            float64
	p            Vec
	normal, flat Vec // smooth and true normal, both towards the ray's origin
	outside      bool
	mat          *material
	emit         Vec // of shining things
}

const (
	epsilon     = 4e-4
	skyDistance = 1e3 // what the filter takes the sky's to be
)

// nearest finds the first thing on a ray.
func (s *Scene) nearest(o, d Vec, h *hit) bool {
	best := math.Inf(1)
	var mat *material
	for i := range s.planes {
		if p := &s.planes[i]; d.Y != 0 {
			if t := (p.y - o.Y) / d.Y; t > epsilon && t < best && t < 1e4 {
				best, mat = t, p.mat
				h.normal, h.emit = Vec{0, 1, 0}, Vec{}
				h.flat = h.normal
			}
		}
	}
	for i := range s.spheres {
		sp := &s.spheres[i]
		if t := sp.intersect(o, d, best); t > 0 {
			best, mat = t, sp.mat
			h.normal, h.emit = o.Add(d.Scale(t)).Sub(sp.centre).Scale(1/sp.radius), Vec{}
			h.flat = h.normal
		}
	}
	for i := range s.instances {
		in := &s.instances[i]
		if !in.near(o, d) {
			continue
		}
		if mh, ok := in.mesh.intersect(in.into(o.Sub(in.at)).Scale(1/in.scale), in.into(d).Scale(1/in.scale), best, false); ok {
			best, mat = mh.t, in.mat
			smooth, flat := in.mesh.at(mh)
			h.normal, h.flat, h.emit = in.out(smooth), in.out(flat), Vec{}
		}
	}
	for i := range s.lamps {
		l := &s.lamps[i]
		if t, ok := l.intersect(o, d, best); ok {
			best, mat = t, &lampMaterial
			h.normal, h.emit = l.normal, Vec{}
			if d.Dot(l.normal) < 0 {
				h.emit = l.color
			}
			h.flat = h.normal
		}
	}
	if mat == nil {
		return false
	}
	h.t, h.mat, h.p = best, mat, o.Add(d.Scale(best))
	h.outside = d.Dot(h.flat) < 0
	if !h.outside {
		h.flat, h.normal = h.flat.Scale(-1), h.normal.Scale(-1)
	}
	if d.Dot(h.normal) >= 0 { // a smooth normal may face away at the rim
		h.normal = h.flat
	}
	return true
}

var lampMaterial = material{kind: shining}

func (sp *sphere) intersect(o, d Vec, tMax float64) float64 {
	oc := o.Sub(sp.centre)
	b := oc.Dot(d)
	disc := b*b - oc.Dot(oc) + sp.radius*sp.radius
	if disc < 0 {
		return -1
	}
	root := math.Sqrt(disc)
	if t := -b - root; t > epsilon && t < tMax {
		return t
	}
	if t := -b + root; t > epsilon && t < tMax {
		return t
	}
	return -1
}

func (l *lamp) intersect(o, d Vec, tMax float64) (float64, bool) {
	den := d.Dot(l.normal)
	if den == 0 {
		return 0, false
	}
	t := l.corner.Sub(o).Dot(l.normal) / den
	if t <= epsilon || t >= tMax {
		return 0, false
	}
	p := o.Add(d.Scale(t)).Sub(l.corner)
	u, v := p.Dot(l.u)/l.u.Dot(l.u), p.Dot(l.v)/l.v.Dot(l.v)
	return t, u >= 0 && u <= 1 && v >= 0 && v <= 1
}

// near reports whether the ray passes the sphere around the instance.
func (in *instance) near(o, d Vec) bool {
	oc := o.Sub(in.centre)
	b, c := oc.Dot(d), oc.Dot(oc)-in.radius*in.radius
	return c <= 0 || b < 0 && b*b >= c
}

// into and out rotate between the world and an instance.
func (in *instance) into(v Vec) Vec {
	return Vec{in.cos*v.X - in.sin*v.Z, v.Y, in.sin*v.X + in.cos*v.Z}
}
func (in *instance) out(v Vec) Vec {
	return Vec{in.cos*v.X + in.sin*v.Z, v.Y, -in.sin*v.X + in.cos*v.Z}
}

// passing is the share of light that gets from o along d up to a distance. Glass
// lets it pass tinted and unbent: wrong by the shape of its caustics, right in
// brightness, and free of their noise.
func (s *Scene) passing(o, d Vec, far float64) Vec {
	light := Vec{1, 1, 1}
	for i := range s.spheres {
		sp := &s.spheres[i]
		if t := sp.intersect(o, d, far); t > 0 {
			if sp.mat.kind != glass {
				return Vec{}
			}
			n := o.Add(d.Scale(t)).Sub(sp.centre).Scale(1 / sp.radius)
			light = light.Mul(sp.mat.shade(math.Abs(n.Dot(d))))
		}
	}
	for i := range s.instances {
		in := &s.instances[i]
		if !in.near(o, d) {
			continue
		}
		lo, ld := in.into(o.Sub(in.at)).Scale(1/in.scale), in.into(d).Scale(1/in.scale)
		if in.mat.kind != glass {
			if _, ok := in.mesh.intersect(lo, ld, far, true); ok {
				return Vec{}
			}
		} else if mh, ok := in.mesh.intersect(lo, ld, far, false); ok {
			smooth, _ := in.mesh.at(mh)
			light = light.Mul(in.mat.shade(math.Abs(in.out(smooth).Dot(d))))
		}
	}
	return light
}

// shade is what a glass body lets pass where light meets it at a cosine: clear
// in the middle, dark at the rim, like real shadows of glass.
func (m *material) shade(cos float64) Vec {
	return m.color.Scale(0.25 + 0.75*cos*cos)
}

// albedo is the colour of a surface at a point.
func (m *material) albedo(p Vec) Vec {
	switch {
	case m.check > 0:
		x, z := int(math.Floor(p.X/m.check)), int(math.Floor(p.Z/m.check))
		if (x+z)&1 == 0 {
			return m.color
		}
		return m.color2
	case m.grain > 0:
		n := noise(p.Scale(m.grain))*0.6 + noise(p.Scale(m.grain*3.1))*0.3 + noise(p.Scale(m.grain*9.7))*0.2
		return m.color.Lerp(m.color2, max(0, min(1, 0.5+0.8*n)))
	}
	return m.color
}

func noise(p Vec) float64 {
	fx, fy, fz := math.Floor(p.X), math.Floor(p.Y), math.Floor(p.Z)
	ix, iy, iz := int32(fx), int32(fy), int32(fz)
	tx, ty, tz := ease(p.X-fx), ease(p.Y-fy), ease(p.Z-fz)
	a := mix(mix(lattice(ix, iy, iz), lattice(ix+1, iy, iz), tx), mix(lattice(ix, iy+1, iz), lattice(ix+1, iy+1, iz), tx), ty)
	b := mix(mix(lattice(ix, iy, iz+1), lattice(ix+1, iy, iz+1), tx), mix(lattice(ix, iy+1, iz+1), lattice(ix+1, iy+1, iz+1), tx), ty)
	return mix(a, b, tz)
}

func ease(t float64) float64      { return t * t * (3 - 2*t) }
func mix(a, b, t float64) float64 { return a + (b-a)*t }

func lattice(x, y, z int32) float64 {
	h := uint32(x)*374761393 ^ uint32(y)*668265263 ^ uint32(z)*2246822519
	h = (h ^ h>>13) * 1274126177
	return float64(h^h>>16)/(1<<31) - 1
}

// light is the sky's radiance in a direction. The sun itself is only shown to
// rays that came by mirror: for the others it is asked for directly.
func (s *Scene) light(d Vec, sun bool) Vec {
	k := &s.sky
	var c Vec
	if d.Y >= 0 {
		c = k.horizon.Lerp(k.zenith, math.Sqrt(d.Y))
	} else {
		c = k.horizon.Lerp(k.ground, min(1, -d.Y*4))
	}
	if cos := d.Dot(k.sun); cos > 0 && k.glow > 0 {
		cos *= cos * cos
		cos *= cos
		c = c.Add(k.sunColor.Scale(k.glow * cos * cos * cos * cos)) // the cosine to the 24th
	}
	if sun && d.Dot(k.sun) >= k.sunCos {
		c = c.Add(k.sunColor.Scale(1 / (2 * math.Pi * (1 - k.sunCos)))) // radiance = irradiance / solid angle
	}
	return c
}

// path carries what one sample of one pixel needs along its way.
type path struct {
	s      *Scene
	rng    rng
	i      int        // number of the sample
	offset [8]float64 // the pixel's random shifts
	seen   *feature   // to be filled by the first surface that scatters
}

// radiance is the light that reaches o from direction d.
func (p *path) radiance(o, d Vec, depth int, sun bool) Vec {
	var h hit
	if !p.s.nearest(o, d, &h) {
		p.note(Vec{1, 1, 1}, Vec{}, skyDistance)
		return p.s.light(d, sun)
	}
	switch h.mat.kind {
	case shining:
		p.note(Vec{1, 1, 1}, h.normal, h.t)
		if !sun {
			return Vec{} // lamps, like the sun, are asked for directly
		}
		return h.emit
	case metal:
		return p.metal(d, &h, depth)
	case glass:
		return p.glass(d, &h, depth)
	case glazed:
		return p.glazed(d, &h, depth)
	}
	return p.matte(&h, depth)
}

// haze fades what is far into the horizon, so that an endless floor ends.
func (p *path) haze(c Vec, d Vec, h *hit) Vec {
	const from, over = 14.0, 45.0
	if h.t <= from {
		return c
	}
	f := 1 - math.Exp(-(h.t-from)/over*3)
	return c.Lerp(p.s.light(Vec{d.X, 0, d.Z}.Unit(), false), f)
}

func (p *path) matte(h *hit, depth int) Vec {
	albedo := h.mat.albedo(h.p)
	p.note(albedo, h.normal, h.t)
	o := h.p.Add(h.flat.Scale(epsilon))
	in := p.direct(o, h.normal, depth)
	if depth < p.s.Depth {
		keep := 1.0
		if depth >= 1 { // Russian roulette
			keep = min(0.95, albedo.Max())
		}
		if keep == 1 || p.rng.float() < keep {
			in = in.Add(bright(p.radiance(o, p.scatter(h.normal, depth), depth+1, false).Scale(1/keep), 3))
		}
	} else {
		// Where paths end, what they would still have gathered is guessed: half of
		// an open sky's light.
		in = in.Add(p.s.sky.horizon.Lerp(p.s.sky.zenith, 0.5+0.5*h.normal.Y).Scale(0.5))
	}
	return albedo.Mul(in)
}

// scatter draws a direction by the cosine law.
func (p *path) scatter(n Vec, depth int) Vec {
	a, b := p.draw(2, depth)
	r, phi := math.Sqrt(a), 2*math.Pi*b
	sin, cos := math.Sincos(phi)
	t, u := basis(n)
	return t.Scale(r * cos).Add(u.Scale(r * sin)).Add(n.Scale(math.Sqrt(1 - a))).Unit()
}

// draw is a pair of numbers: well spread over the samples for a path's first
// surface, plain random after it.
func (p *path) draw(which, depth int) (float64, float64) {
	if depth > 0 {
		return p.rng.float(), p.rng.float()
	}
	return pair(p.i, p.offset[which], p.offset[which+1])
}

// direct is the light of sun and lamps on a matte surface, divided by its
// colour.
func (p *path) direct(o, n Vec, depth int) Vec {
	// Beyond the first surface one light, drawn by lot, stands for all.
	var sum Vec
	only, weight := -1, 1.0
	if depth > 0 {
		weight = float64(len(p.s.lamps) + 1)
		only = int(p.rng.float() * weight)
	}
	if k := &p.s.sky; only <= 0 && k.sunCos <= 1 && k.sun.Dot(n) > 0 {
		a, b := p.draw(4, depth)
		z := 1 - a*(1-k.sunCos)
		r := math.Sqrt(1 - z*z)
		sin, cos := math.Sincos(2 * math.Pi * b)
		t, u := basis(k.sun)
		d := t.Scale(r * cos).Add(u.Scale(r * sin)).Add(k.sun.Scale(z))
		if c := d.Dot(n); c > 0 {
			sum = p.s.passing(o, d, math.Inf(1)).Mul(k.sunColor).Scale(weight * c / math.Pi)
		}
	}
	for i := range p.s.lamps {
		if only >= 0 && only != i+1 {
			continue
		}
		l := &p.s.lamps[i]
		a, b := p.draw(6, depth)
		to := l.corner.Add(l.u.Scale(a)).Add(l.v.Scale(b)).Sub(o)
		dist := to.Len()
		d := to.Scale(1 / dist)
		c, shine := d.Dot(n), -d.Dot(l.normal)
		if c <= 0 || shine <= 0 {
			continue
		}
		sum = sum.Add(p.s.passing(o, d, dist-epsilon).Mul(l.color).Scale(weight * c * shine * l.area / (dist * dist * math.Pi)))
	}
	return sum
}

func (p *path) metal(d Vec, h *hit, depth int) Vec {
	color := h.mat.albedo(h.p)
	if depth >= p.s.Depth+2 { // a mirror that shows a mirror should not show black
		return Vec{}
	}
	out := p.blur(reflect(d, h.normal), h, depth)
	c := 1 - min(1, -d.Dot(h.normal))
	f := color.Lerp(Vec{1, 1, 1}, c*c*c*c*c)
	if h.mat.rough > 0.15 {
		p.note(color, h.normal, h.t)
	}
	return f.Mul(p.radiance(h.p.Add(h.flat.Scale(epsilon)), out, depth+1, true))
}

// blur spreads a mirror direction by the material's roughness.
func (p *path) blur(out Vec, h *hit, depth int) Vec {
	if h.mat.rough > 0 {
		a, b := p.draw(2, depth)
		z := 1 - 2*a
		r := math.Sqrt(1 - z*z)
		sin, cos := math.Sincos(2 * math.Pi * b)
		out = out.Add(Vec{r * cos, r * sin, z}.Scale(h.mat.rough)).Unit()
	}
	if out.Dot(h.flat) <= 0 {
		out = reflect(out, h.flat)
	}
	return out
}

func (p *path) glass(d Vec, h *hit, depth int) Vec {
	if depth >= p.s.Depth+3 { // light must come out again at the other side
		return Vec{}
	}
	eta := 1 / h.mat.ior
	if !h.outside {
		eta = h.mat.ior
	}
	mirror := reflect(d, h.normal)
	bent, ok := refract(d, h.normal, eta)
	share := 1.0
	if ok {
		cos := -d.Dot(h.normal)
		if !h.outside {
			cos = -bent.Dot(h.normal)
		}
		share = schlick(cos, h.mat.ior)
	}
	through := func() Vec {
		in := p.radiance(h.p.Sub(h.flat.Scale(epsilon)), bent.Unit(), depth+1, true)
		if !h.outside {
			in = in.Mul(h.mat.color) // the tint of the way just left
		}
		return in
	}
	back := func() Vec { return p.radiance(h.p.Add(h.flat.Scale(epsilon)), mirror, depth+1, true) }
	switch {
	case !ok:
		return back()
	case depth == 0: // both ways, which is worth its price where it is seen
		return through().Scale(1 - share).Add(back().Scale(share))
	case p.rng.float() < share:
		return back()
	}
	return through()
}

func (p *path) glazed(d Vec, h *hit, depth int) Vec {
	share := schlick(-d.Dot(h.normal), h.mat.ior)
	mirror := func() Vec {
		return p.radiance(h.p.Add(h.flat.Scale(epsilon)), p.blur(reflect(d, h.normal), h, depth), depth+1, true)
	}
	var c Vec
	switch {
	case depth == 0:
		// Both, but the mirror's image only as often as it can be seen.
		c = p.matte(h, depth).Scale(1 - share)
		if often := min(1, share*5); p.rng.float() < often {
			c = c.Add(mirror().Scale(share / often))
		}
	case depth < p.s.Depth && p.rng.float() < share:
		c = mirror()
	default:
		c = p.matte(h, depth)
	}
	return p.haze(c, d, h)
}

// schlick approximates Fresnel's share of reflection.
func schlick(cos, ior float64) float64 {
	r := (1 - ior) / (1 + ior)
	r *= r
	c := 1 - min(1, max(0, cos))
	return r + (1-r)*c*c*c*c*c
}
