package machine

import (
	"path"
	"slices"
	"strings"
)

// Group is this process's control group of one controller.
type Group struct {
	V2 bool
	// Dir is the group's folder, Mount the top of its hierarchy as it is seen from
	// here; both below the root folder, such as /sys/fs/cgroup/memory/a.
	Dir, Mount string
}

// Groups are this process's control groups, by controller; the unified
// hierarchy (version 2) is under "".
type Groups map[string]Group

// ControlGroups reads which control groups this process is in.
func ControlGroups(root string) Groups { return tree(root).cgroups() }

// Of is the group that limits what a controller counts: version 1's if the
// controller is mounted there, else the unified one.
func (g Groups) Of(controller string) (Group, bool) {
	if own, ok := g[controller]; ok {
		return own, true
	}
	own, ok := g[""]
	return own, ok
}

// cgroups joins /proc/self/cgroup (where we are) with mountinfo (where that is).
func (t tree) cgroups() Groups {
	mounts := t.cgroupMounts()
	out := Groups{}
	for line := range strings.Lines(t.read("proc/self/cgroup", smallFile)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			m, ok := mounts[controller]
			if !ok || (parts[1] == "") != m.v2 {
				continue
			}
			dir := m.point
			// A group above the mount's root cannot be seen: then its top stands for it.
			if rest, ok := below(parts[2], m.root); ok && t.exists(path.Join(m.point, rest)) {
				dir = path.Join(m.point, rest)
			}
			out[controller] = Group{V2: m.v2, Dir: dir, Mount: m.point}
		}
	}
	return out
}

type cgroupMount struct {
	root, point string
	v2          bool
}

// mountLine is one mount of /proc/self/mountinfo (proc(5)).
type mountLine struct {
	device, root, point, kind string
	options                   []string
}

const mountTable = 1 << 20

func (t tree) mounts() []mountLine {
	var out []mountLine
	for line := range strings.Lines(t.read("proc/self/mountinfo", mountTable)) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		before, after := strings.Fields(left), strings.Fields(right)
		if !ok || len(before) < 6 || len(after) < 3 {
			continue
		}
		out = append(out, mountLine{
			device: before[2], root: unescape(before[3]), point: unescape(before[4]),
			kind: after[0], options: strings.Split(after[2], ","),
		})
	}
	return out
}

func (t tree) cgroupMounts() map[string]cgroupMount {
	out := map[string]cgroupMount{}
	for _, m := range t.mounts() {
		switch m.kind {
		case "cgroup2":
			out[""] = cgroupMount{m.root, m.point, true}
		case "cgroup":
			for _, o := range m.options {
				if !slices.Contains([]string{"rw", "ro", "xattr"}, o) {
					out[o] = cgroupMount{m.root, m.point, false}
				}
			}
		}
	}
	return out
}

// unescape undoes what the kernel does to blanks in mount points.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// below cuts a prefix of whole path elements.
func below(p, prefix string) (string, bool) {
	if prefix == "/" || prefix == "" {
		return p, true
	}
	rest, ok := strings.CutPrefix(p, prefix)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// Up lists a group and those above it that can be seen: each may limit.
func (g Group) Up() []string {
	dirs := []string{g.Dir}
	for d := g.Dir; d != g.Mount && len(d) > len(g.Mount) && len(dirs) < 64; {
		d = path.Dir(d)
		dirs = append(dirs, d)
	}
	return dirs
}
