package steady_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/internal/steady"
)

func TestItGoesOn(t *testing.T) {
	last := steady.Now()
	if off := time.Since(last).Abs(); off > time.Hour {
		t.Errorf("it begins %s beside the time of day", off)
	}
	for range 1000 {
		now := steady.Now()
		if now.Before(last) {
			t.Fatalf("%s comes after %s", now, last)
		}
		last = now
	}
}

// TestUpIsTheMachines: processes compare it.
func TestUpIsTheMachines(t *testing.T) {
	before := steady.Up()
	b, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Skip(err)
	}
	first, _, _ := strings.Cut(string(b), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil {
		t.Fatal(err)
	}
	const grain = 10 * time.Millisecond
	if kernel := time.Duration(seconds * float64(time.Second)); kernel < before-grain || kernel > steady.Up()+grain {
		t.Errorf("the kernel says %s, between %s and %s", kernel, before, steady.Up())
	}
}
