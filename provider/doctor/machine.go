package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/mechanism/match"
	"github.com/moyai-network/moyai/p2p"
	"github.com/moyai-network/moyai/provider/machine"
	"github.com/moyai-network/moyai/provider/probe"
)

// runtimes: WebAssembly is always offered; what runs containers is told about,
// because its work is taken only if the owner asks for it.
func (e *examination) runtimes(context.Context) {
	images := slices.ContainsFunc(e.Runtimes, func(r probe.Runtime) bool { return r.Found && r.Tier != compute.TierSandbox })
	for _, r := range e.Runtimes {
		text := strings.Join(nonEmpty(r.Version, r.Why), "; ")
		switch {
		case r.Found && r.Why == "":
			e.add(OK, r.Runs, text, "")
		case r.Found:
			e.add(Warning, r.Runs, text, r.Fix)
		case r.Tier == compute.TierSandbox:
			e.add(Problem, r.Runs, text, r.Fix)
		case r.Name == probe.Docker && r.Why != "not installed" && !images:
			e.add(Warning, r.Runs, text+"; nothing else here runs images", r.Fix)
		default:
			e.add(OK, r.Runs, text+"; not needed yet", "")
		}
	}
}

// walls: those that hold are one line.
func (e *examination) walls(context.Context) {
	var held []string
	for _, w := range e.Walls {
		if w.Held {
			held = append(held, w.Name)
		}
	}
	if len(held) > 0 {
		e.add(OK, "enforced here", strings.Join(held, ", "), "")
	}
	for _, m := range probe.Mend(e.Walls) {
		e.add(Warning, "not enforced", fmt.Sprintf("%s (%s)", strings.Join(m.Walls, ", "), m.Why), m.Fix)
	}
}

func (e *examination) gpus(context.Context) {
	for _, g := range e.Machine.GPUs {
		name := g.Vendor + " " + g.Model
		switch {
		case g.Use == machine.UseDisplay:
		case g.Problem != "":
			e.add(Warning, "GPU", name+" cannot compute: "+g.Problem, g.Fix)
		default:
			e.add(OK, "GPU", name+"; found, not offered yet", "")
		}
	}
	nvml := e.Machine.NVML
	switch {
	case len(e.Machine.GPUs) > 0:
	case nvml.Error != "" && !nvml.Absent:
		e.add(Warning, "GPU", "NVIDIA's library is here and finds no driver: "+nvml.Error, "nvidia-smi")
	default:
		e.add(OK, "GPU", "none found", "")
	}
}

const (
	leastDisk  = 256 << 20 // what provider.Config.ReserveBytes keeps back by default
	littleDisk = 2 << 30
)

func (e *examination) disk(context.Context) {
	d := e.Machine.Disk
	text := match.Bytes(d.Free) + " free in " + e.Home
	fix := "make room in " + d.Path + ", or name a folder on another disk with --home"
	switch {
	case d.Size == 0:
		e.add(Warning, "disk", "cannot tell how much is free in "+e.Home, "df -h "+d.Path)
	case d.Free < leastDisk:
		e.add(Problem, "disk", text+", which is kept back: no work is taken", fix)
	case d.Free < littleDisk:
		e.add(Warning, "disk", text+": little for tenants' files", fix)
	default:
		e.add(OK, "disk", text, "")
	}
}

func (e *examination) files(context.Context) {
	switch n := e.OpenFiles; {
	case n == 0:
	case n < 1024:
		e.add(Problem, "open files", fmt.Sprintf("only %d at once: connections and jobs will fail", n), "ulimit -n 65536")
	case n < 4096:
		e.add(Warning, "open files", fmt.Sprintf("%d at once are few for many jobs", n), "ulimit -n 65536")
	default:
		e.add(OK, "open files", fmt.Sprintf("%d at once", n), "")
	}
}

// nodeKey is the machine's identity: whoever reads it can sign bids.
func (e *examination) nodeKey(context.Context) {
	path := filepath.Join(e.Home, "node.key")
	key, err := p2p.LoadKey(path)
	switch info, statErr := os.Stat(path); {
	case err == nil:
		e.node = key.Public()
		e.add(OK, "node key", "there, and readable by you only", "")
	case errors.Is(err, fs.ErrNotExist):
		e.add(Problem, "node key", "none in "+e.Home+": no provider was started there", e.Start)
	case statErr == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows":
		e.add(Problem, "node key", fmt.Sprintf("others may read it (mode %#o), and who reads it can sign bids", info.Mode().Perm()), "chmod 600 "+path)
	case errors.Is(err, fs.ErrPermission):
		e.add(Problem, "node key", "you may not read it", "run this as the user that runs the provider")
	default:
		e.add(Problem, "node key", err.Error(), "restore "+path+" from its backup")
	}
}

func nonEmpty(texts ...string) []string {
	var out []string
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}
