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
	lum      float64 // of light
	variance float64 // of lum
}

// reach is how far the filter looks, and apron how far around a tile is rendered
// to make its edge come out as if there were none.
const (
	reach = 4
	apron = reach + 1
)

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
	pool(pixels, wide.Dx())
	film := newFilm(s.Exposure)
	img := image.NewNRGBA(rect)
	for y := rect.Min.Y; y < rect.Max.Y; y++ {
		for x := rect.Min.X; x < rect.Max.X; x++ {
			c := filter(pixels, wide, x, y)
			img.SetNRGBA(x, y, film.develop(c))
		}
	}
	return img
}

// Sampling is adaptive: a pixel gets no more paths once it has enough of them
// and the error of its mean is below what the filter takes care of.
const (
	enough   = 3
	accurate = 0.04
)

// sample traces one pixel's paths.
func (s *Scene) sample(x, y int) pixel {
	p := path{s: s, rng: newRNG(s.Seed, x, y)}
	for i := range p.offset {
		p.offset[i] = p.rng.float()
	}
	var sum pixel
	var squares float64
	n := 0
	for n < s.Samples {
		p.i = n
		var f feature
		p.seen = &f
		o, d := s.aimed(&p, x, y)
		c := bright(p.radiance(o, d, 0, true), 12)
		sum.light = sum.light.Add(c)
		sum.albedo = sum.albedo.Add(f.albedo)
		sum.normal = sum.normal.Add(f.normal)
		sum.dist += f.dist
		lum := c.Lum()
		squares += lum * lum
		n++
		if n == 2 && sum.dist >= 2*skyDistance || n >= enough && settled(sum.light.Lum(), squares, n) {
			break
		}
	}
	k := 1 / float64(n)
	mean := sum.light.Lum() * k
	sum.albedo, sum.normal, sum.dist = sum.albedo.Scale(k), sum.normal.Scale(k), sum.dist*k
	a := sum.albedo.Lum()
	sum.variance = max(0, squares*k-mean*mean) * k / (a*a + 1e-4)
	// Divided after the mean, so that multiplying gives back what was measured.
	sum.light = Vec{sum.light.X * k / tint(sum.albedo.X), sum.light.Y * k / tint(sum.albedo.Y), sum.light.Z * k / tint(sum.albedo.Z)}
	sum.lum = sum.light.Lum()
	return sum
}

// settled reports that the mean of n samples is accurate.
func settled(sum, squares float64, n int) bool {
	k := 1 / float64(n)
	mean := sum * k
	return squares*k-mean*mean < accurate*accurate*float64(n)*(mean*mean+1e-4)
}

// tint keeps the division by a colour away from zero.
func tint(a float64) float64 { return max(a, 0.02) }

// aimed is the ray of path p.i through a pixel.
func (s *Scene) aimed(p *path, x, y int) (o, d Vec) {
	c := &s.camera
	jx, jy := pair(p.i, p.offset[0], p.offset[1])
	px := 2*(float64(x)+jx)/float64(s.Width) - 1
	py := 2*(float64(y)+jy)/float64(s.Height) - 1
	d = c.into.Add(c.right.Scale(px)).Add(c.down.Scale(py))
	o = c.eye
	if c.aperture > 0 {
		at := o.Add(d.Scale(c.focus))
		r := c.aperture * math.Sqrt(p.rng.float())
		sin, cos := math.Sincos(2 * math.Pi * p.rng.float())
		o = o.Add(c.right.Unit().Scale(r * cos)).Add(c.down.Unit().Scale(r * sin))
		d = at.Sub(o)
	}
	return o, d.Unit()
}

// pool raises variances to their neighbours' mean: few samples say little about
// their own spread, and a pixel that was lucky to look quiet would keep its
// error.
func pool(pixels []pixel, w int) {
	own := make([]float64, len(pixels))
	for i := range pixels {
		own[i] = pixels[i].variance
	}
	h := len(pixels) / w
	for y := range h {
		for x := range w {
			sum, n := 0.0, 0.0
			for j := max(0, y-1); j <= min(h-1, y+1); j++ {
				for i := max(0, x-1); i <= min(w-1, x+1); i++ {
					sum += own[j*w+i]
					n++
				}
			}
			if mean := sum / n; mean > own[y*w+x] {
				pixels[y*w+x].variance = mean
			}
		}
	}
}

// bright bounds a sample, so that one lucky path makes no white dot.
func bright(c Vec, limit float64) Vec {
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
	lum := c.lum
	if c.variance <= 1e-4*lum*lum { // an error of 1% is nothing to clean
		return c.light.Mul(tinted(c.albedo))
	}
	near := 22 / c.dist
	var sum Vec
	var weight float64
	left, right := max(0, cx-reach), min(w-1, cx+reach)
	top, bottom := max(0, cy-reach), min(h-1, cy+reach)
	for j := top; j <= bottom; j++ {
		for i := left; i <= right; i++ {
			q := &pixels[j*w+i]
			dl := lum - q.lum
			noise := c.variance + q.variance
			if dl*dl > 8*noise {
				continue // far beyond what chance explains
			}
			dn := c.normal.Sub(q.normal)
			da := c.albedo.Sub(q.albedo)
			dd := (c.dist - q.dist) * near
			e := dn.Dot(dn)*24 + da.Dot(da)*60 + dd*dd
			if over := dl*dl - noise; over > 0 {
				e += over / (1.6*noise + 1e-6)
			}
			e += float64((i-cx)*(i-cx)+(j-cy)*(j-cy)) * 0.04
			if e > 4 {
				continue
			}
			k := 1 - e/4 // a bell's shape without an exponential's price
			k *= k
			k *= k
			sum = sum.Add(q.light.Scale(k))
			weight += k
		}
	}
	return sum.Scale(1 / weight).Mul(tinted(c.albedo))
}

func tinted(a Vec) Vec { return Vec{tint(a.X), tint(a.Y), tint(a.Z)} }

// film turns linear light into a screen's values.
type film struct {
	exposure float64
	curve    [1024]uint8
}

// newFilm tabulates Narkowicz's fit of the ACES curve followed by sRGB's, over
// the square root of light, where they are nearly straight.
func newFilm(exposure float64) *film {
	f := &film{exposure: exposure}
	for i := range f.curve {
		v := float64(i) / 256
		v *= v
		v = v * (2.51*v + 0.03) / (v*(2.43*v+0.59) + 0.14)
		v = max(0, min(1, v))
		if v <= 0.0031308 {
			v *= 12.92
		} else {
			v = 1.055*math.Pow(v, 1/2.4) - 0.055
		}
		f.curve[i] = uint8(v*255 + 0.5)
	}
	return f
}

func (f *film) develop(c Vec) color.NRGBA {
	return color.NRGBA{f.value(c.X), f.value(c.Y), f.value(c.Z), 255}
}

func (f *film) value(v float64) uint8 {
	return f.curve[min(int(math.Sqrt(v*f.exposure)*256+0.5), len(f.curve)-1)]
}
