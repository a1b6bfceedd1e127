// Command float is the floating-point kernel: n-body steps of five planets. Its
// argument is how many steps.
package main

import (
	"math"
	"os"
	"strconv"
)

type body struct{ x, y, z, vx, vy, vz, m float64 }

func main() {
	n, err := strconv.ParseUint(os.Args[1], 10, 64)
	if err != nil {
		os.Exit(2)
	}
	_, _ = os.Stdout.WriteString("start\n")
	bodies := []body{
		{0, 0, 0, 0, 0, 0, 39.47},
		{4.84, -1.16, -0.10, 0.606, 2.81, -0.02, 0.037},
		{8.34, 4.12, -0.4, -1.01, 1.82, 0.008, 0.011},
		{12.89, -15.11, -0.22, 1.08, 0.868, -0.01, 0.0017},
		{15.37, -25.9, 0.179, 0.979, 0.594, -0.034, 0.002},
	}
	for range n {
		step(bodies, 0.01)
	}
	_, _ = os.Stdout.WriteString(strconv.FormatFloat(bodies[0].x, 'g', -1, 64) + "\n")
}

func step(bodies []body, dt float64) {
	for i := range bodies {
		a := &bodies[i]
		for j := i + 1; j < len(bodies); j++ {
			b := &bodies[j]
			dx, dy, dz := a.x-b.x, a.y-b.y, a.z-b.z
			d2 := dx*dx + dy*dy + dz*dz
			mag := dt / (d2 * math.Sqrt(d2))
			a.vx -= dx * b.m * mag
			a.vy -= dy * b.m * mag
			a.vz -= dz * b.m * mag
			b.vx += dx * a.m * mag
			b.vy += dy * a.m * mag
			b.vz += dz * a.m * mag
		}
	}
	for i := range bodies {
		b := &bodies[i]
		b.x += dt * b.vx
		b.y += dt * b.vy
		b.z += dt * b.vz
	}
}
