package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// disk tells about the file system of home, or of the nearest folder above it
// that is there: looking makes none.
func (t tree) disk(s Sources, home string) Disk {
	d := Disk{Path: standing(home)}
	if s.Volume == nil {
		return d
	}
	v, err := s.Volume(d.Path)
	if err != nil {
		return d
	}
	d.Size, d.Free = v.Size, v.Free
	device := fmt.Sprintf("%d:%d", v.Major, v.Minor)
	for _, m := range t.mounts() {
		if m.device == device {
			d.FileSystem = m.kind
			break
		}
	}
	// A partition has no queue of its own; its folder lies in its disk's.
	for _, dir := range []string{device, device + "/.."} {
		switch t.word("sys/dev/block/" + dir + "/queue/rotational") {
		case "0":
			d.Kind = "ssd"
		case "1":
			d.Kind = "hdd"
		default:
			continue
		}
		break
	}
	return d
}

func standing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil {
			return path
		}
		up := filepath.Dir(path)
		if up == path {
			return path
		}
		path = up
	}
}

// links lists the interfaces behind which there is a device: bridges, tunnels
// and loopback carry nothing of their own.
func (t tree) links() []Link {
	var out []Link
	for _, name := range t.list("sys/class/net") {
		dir := "sys/class/net/" + name + "/"
		if !t.exists(dir + "device") {
			continue
		}
		l := Link{Name: name, Up: strings.EqualFold(t.word(dir+"operstate"), "up"), Wifi: t.exists(dir + "wireless")}
		l.Mbits, _ = t.number(dir + "speed") // -1, or refused, where nobody knows
		out = append(out, l)
	}
	return out
}
