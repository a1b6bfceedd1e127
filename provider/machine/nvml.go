package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// NVML is NVIDIA's management library, loaded at run time where there is one.
type NVML interface {
	// Read asks the driver about all its cards.
	//
	// Errors: ErrNoNVML (wrapped, with the reason) if there is nothing to ask;
	// anything else is the driver's own trouble.
	Read() (Driver, error)
	// Use asks how busy each card is now, in percent. A card that cannot tell is
	// left out. Errors: as Read's.
	Use() ([]uint, error)
}

// ErrNoNVML: there is no way to ask NVIDIA's driver. Without an NVIDIA card that
// is as it should be.
var ErrNoNVML = errors.New("no NVML")

// Driver is what NVIDIA's driver says.
type Driver struct {
	Version string `json:"version"`
	CUDA    string `json:"cuda"`
	Cards   []Card `json:"cards"`
}

// Card is one card as its driver sees it.
type Card struct {
	PCI         string  `json:"pci"`
	Model       string  `json:"model"`
	UUID        string  `json:"uuid"`
	MemoryBytes uint64  `json:"memory_bytes"`
	Capability  string  `json:"compute_capability"`
	Link        string  `json:"link"`
	NVLinks     int     `json:"nvlinks"`
	MIG         string  `json:"mig"`
	Slices      []Slice `json:"slices"`
	// Lost says that the driver knows the card and cannot reach it.
	Lost string `json:"lost,omitempty"`
}

// NVMLAnswer is how asking went.
type NVMLAnswer struct {
	Driver *Driver `json:"driver,omitempty"`
	Absent bool    `json:"absent"` // there is no library to ask
	Error  string  `json:"error,omitempty"`
}

// ask bounds the wait: a driver cannot be interrupted, so a late one is left to
// finish by itself.
func ask(ctx context.Context, lib NVML, patience time.Duration) NVMLAnswer {
	if lib == nil {
		return NVMLAnswer{Absent: true, Error: "nothing to ask NVIDIA's driver with"}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer := make(chan NVMLAnswer, 1)
	go func() {
		d, err := lib.Read()
		switch {
		case errors.Is(err, ErrNoNVML):
			answer <- NVMLAnswer{Absent: true, Error: err.Error()}
		case err != nil:
			answer <- NVMLAnswer{Error: err.Error()}
		default:
			answer <- NVMLAnswer{Driver: &d}
		}
	}()
	select {
	case a := <-answer:
		return a
	case <-ctx.Done():
		return NVMLAnswer{Error: "NVIDIA's driver did not answer in time; `nvidia-smi -pm 1` keeps it awake"}
	}
}

// merge puts what the driver says beside what the bus shows. A card is on the
// list if either knows it.
func merge(cards []GPU, answer NVMLAnswer) []GPU {
	var said []Card
	if answer.Driver != nil {
		said = slices.Clone(answer.Driver.Cards)
	}
	for i := range cards {
		g := &cards[i]
		if g.Vendor != nvidiaName || g.Use != UseCompute {
			continue
		}
		at := slices.IndexFunc(said, func(c Card) bool { return busID(c.PCI) == busID(g.PCI) })
		if at >= 0 {
			g.learn(said[at], *answer.Driver)
			said = slices.Delete(said, at, at+1)
			continue
		}
		if g.Problem == "" { // the bus already knows something worse
			g.unheard(answer)
		}
	}
	// Under WSL and in some virtual machines the bus shows no card at all.
	for _, c := range said {
		g := GPU{PCI: busID(c.PCI), Vendor: nvidiaName, Use: UseCompute, Driver: "nvidia"}
		g.learn(c, *answer.Driver)
		cards = append(cards, g)
	}
	return cards
}

func (g *GPU) learn(c Card, d Driver) {
	g.Model = strings.TrimPrefix(c.Model, nvidiaName+" ")
	g.DriverVersion, g.UUID, g.MemoryBytes, g.Capability = d.Version, c.UUID, c.MemoryBytes, c.Capability
	g.NVLinks, g.MIG, g.Slices = c.NVLinks, c.MIG, c.Slices
	if c.Link != "" {
		g.Link = c.Link
	}
	if c.Lost != "" {
		g.Problem, g.Fix = "its driver cannot reach it: "+c.Lost, "restart the machine; if it comes back, check power and seating of the card"
	}
}

// unheard explains a card that the bus shows and the driver does not.
func (g *GPU) unheard(a NVMLAnswer) {
	switch {
	case a.Driver != nil:
		g.Problem = "NVIDIA's driver does not list it"
		g.Fix = "see `dmesg | grep -i nvrm`; a card too old for the installed driver needs an older one"
	case a.Absent:
		g.Problem = "the kernel's driver is loaded, but there is no asking it: " + a.Error
		g.Fix = libraryFix
	default:
		g.Problem = "asking the driver failed: " + a.Error
		g.Fix = "see `nvidia-smi`; after an update of the driver, restart the machine"
	}
}

// busID makes NVML's "00000000:01:00.0" and sysfs' "0000:01:00.0" equal.
func busID(s string) string {
	domain, rest, ok := strings.Cut(strings.ToLower(s), ":")
	if n, good := hex(domain); ok && good {
		return fmt.Sprintf("%04x:%s", n, rest)
	}
	return strings.ToLower(s)
}
