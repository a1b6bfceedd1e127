package render

import (
	"image"
	"image/color"
	"math"
)

// feature is what a pixel shows besides its colour; the filter does not mix
// pixels that show different things.
type feature struct {
	albedo, normal Vec
	dist           float64
	known          bool
}

// note keeps the first scattering surface of a path.
func (p *path) note(albedo, normal Vec, dist float64) {
	if p.seen != nil && !p.seen.known {
		*p.seen = feature{albedo, normal, dist, true}
	}
}

// pixel is the mean of a pixel's samples.
type pixel struct {
	light    Vec // colour divided by albedo
	albedo   Vec
	normal   Vec
	dist     float64
	variance float64 // of the mean luminance of light
}

// apron is how far the filter looks, and so how far around a tile is rendered
// to make its edge come out as if there were none.
const apron = 4

// Tile renders the part rect of the whole image.
func (s *Scene) Tile(rect image.Rectangle) *image.NRGBA {
	rect = rect.Intersect(image.Rect(0, 0, s.Width, s.Height))
	wide := rect.Inset(-apron).Intersect(image.Rect(0, 0, s.Width, s.Height))
	pixels := make([]pixel, wide.Dx()*wide.Dy())
	for y := wide.Min.Y; y < wide.Max.Y; y++ {
		for x := wide.Min.X; x < wide.Max.X; x++ {
			pixels[(y-wide.Min.Y)*wide.Dx()+x-wide.Min.X] = s.sample(x, y)
		}
	}
	img := image.NewNRGBA(rect)
	for y := rect.Min.Y; y < rect.Max.Y; y++ {
		for x := rect.Min.X; x < rect.Max.X; x++ {
			c := filter(pixels, wide, x, y)
			img.SetNRGBA(x, y, s.develop(c))
		}
	}
	return img
}

// sample traces one pixel's paths.
func (s *Scene) sample(x, y int) pixel {
	p := path{s: s, rng: newRNG(s.Seed, x, y)}
	for i := range p.offset {
		p.offset[i] = p.rng.float()
	}
	var sum pixel
	var squares float64
	c := &s.camera
	for i := range s.Samples {
		p.i = i
		var f feature
		p.seen = &f
		jx, jy := pair(i, p.offset[0], p.offset[1])
		px := 2*(float64(x)+jx)/float64(s.Width) - 1
		py := 2*(float64(y)+jy)/float64(s.Height) - 1
		d := c.into.Add(c.right.Scale(px)).Add(c.down.Scale(py))
		o := c.eye
		if c.aperture > 0 {
			at := o.Add(d.Scale(c.focus))
			r := c.aperture * math.Sqrt(p.rng.float())
			sin, cos := math.Sincos(2 * math.Pi * p.rng.float())
			o = o.Add(c.right.Unit().Scale(r * cos)).Add(c.down.Unit().Scale(r * sin))
			d = at.Sub(o)
		}
		light := bright(p.radiance(o, d.Unit(), 0, true))
		light = Vec{light.X / math.Max(f.albedo.X, 0.02), light.Y / math.Max(f.albedo.Y, 0.02), light.Z / math.Max(f.albedo.Z, 0.02)}
		sum.light = sum.light.Add(light)
		sum.albedo = sum.albedo.Add(f.albedo)
		sum.normal = sum.normal.Add(f.normal)
		sum.dist += f.dist
		squares += light.Lum() * light.Lum()
	}
	n := 1 / float64(s.Samples)
	sum.light, sum.albedo, sum.normal = sum.light.Scale(n), sum.albedo.Scale(n), sum.normal.Scale(n)
	sum.dist *= n
	mean := sum.light.Lum()
	sum.variance = math.Max(0, squares*n-mean*mean) * n
	return sum
}

// bright bounds a sample, so that one lucky path makes no white dot.
func bright(c Vec) Vec {
	const limit = 12
	if m := c.Max(); m > limit {
		return c.Scale(limit / m)
	}
	return c
}

// filter is a cross-bilateral mean: neighbours count as far as they show the
// same surface and differ by no more than their noise explains (after Rousselle
// et al., "Robust Denoising using Feature and Color Information").
func filter(pixels []pixel, wide image.Rectangle, x, y int) Vec {
	w, h := wide.Dx(), wide.Dy()
	cx, cy := x-wide.Min.X, y-wide.Min.Y
	c := &pixels[cy*w+cx]
	if c.variance == 0 {
		return c.light.Mul(c.albedo)
	}
	lum := c.light.Lum()
	var sum Vec
	var weight float64
	for j := max(0, cy-apron); j <= min(h-1, cy+apron); j++ {
		for i := max(0, cx-apron); i <= min(w-1, cx+apron); i++ {
			q := &pixels[j*w+i]
			dn := c.normal.Sub(q.normal)
			da := c.albedo.Sub(q.albedo)
			dd := (c.dist - q.dist) / (0.02 * c.dist)
			e := dn.Dot(dn)*24 + da.Dot(da)*60 + dd*dd*0.2
			dl := lum - q.light.Lum()
			noise := c.variance + q.variance
			e += math.Max(0, dl*dl-noise) / (1.6*noise + 1e-6)
			e += float64((i-cx)*(i-cx)+(j-cy)*(j-cy)) * 0.04
			if e > 6 {
				continue
			}
			k := math.Exp(-e)
			sum = sum.Add(q.light.Scale(k))
			weight += k
		}
	}
	return sum.Scale(1 / weight).Mul(c.albedo)
}

// develop turns linear light into a screen's colour, by the curve film has.
func (s *Scene) develop(c Vec) color.NRGBA {
	return color.NRGBA{s.tone(c.X), s.tone(c.Y), s.tone(c.Z), 255}
}

// tone is Narkowicz's fit of the ACES curve, then sRGB.
func (s *Scene) tone(v float64) uint8 {
	v *= s.Exposure
	v = v * (2.51*v + 0.03) / (v*(2.43*v+0.59) + 0.14)
	v = math.Max(0, math.Min(1, v))
	if v <= 0.0031308 {
		v *= 12.92
	} else {
		v = 1.055*math.Pow(v, 1/2.4) - 0.055
	}
	return uint8(v*255 + 0.5)
}
