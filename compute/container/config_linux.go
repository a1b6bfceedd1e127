package container

import (
	"bufio"
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/internal/archive"
)

// user is who a container runs as, in its own numbers.
type user struct {
	UID, GID uint32
	Groups   []uint32
}

// maxGroups bounds supplementary groups.
const maxGroups = 1024

// fromConfig takes over what an image says about how to run it.
func fromConfig(img *archive.Image) (*image, error) {
	c := &img.Config
	bytes := len(c.WorkingDir) + len(c.User)
	for _, list := range [][]string{c.Env, c.Entrypoint, c.Cmd} {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return nil, badImage("its configuration contains a zero byte")
			}
			bytes += len(s)
		}
	}
	if len(c.Env) > compute.MaxEnv || len(c.Entrypoint)+len(c.Cmd) > compute.MaxArgs || bytes > compute.MaxArgBytes {
		return nil, badImage("its environment and command take %d bytes, at most %d are accepted", bytes, compute.MaxArgBytes)
	}
	var env []string
	for _, e := range c.Env {
		if strings.IndexByte(e, '=') > 0 { // engines drop the others too
			env = append(env, e)
		}
	}
	dir := c.WorkingDir
	if dir == "" {
		dir = "/"
	}
	dir = path.Clean("/" + dir)
	if notOfImage(dir) {
		return nil, badImage("its working directory %.100q is not part of it", dir)
	}
	return &image{Env: env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, WorkingDir: dir}, nil
}

// notOfImage reports that a working directory is the kernel's. One there was once
// a way to an open folder of the host (CVE-2024-21626). runc looks out for it; no
// honest program needs it.
func notOfImage(dir string) bool {
	for _, system := range []string{"/proc", "/sys", "/dev"} {
		if dir == system || strings.HasPrefix(dir, system+"/") {
			return true
		}
	}
	return false
}

// command is what runs: the entrypoint, then the arguments given, or the image's
// own where none are, as container engines do.
func (i *image) command(args []string) ([]string, error) {
	if len(args) == 0 {
		args = i.Cmd
	}
	command := append(append([]string{}, i.Entrypoint...), args...)
	if len(command) == 0 {
		return nil, badImage("it names neither an entrypoint nor a command: say what to run")
	}
	if command[0] == "" {
		return nil, badImage("the first word of its command is empty")
	}
	return command, nil
}

// environment is the image's, with a place for files that programs keep in HOME,
// as the image's own home cannot be written.
func (i *image) environment(more ...[]string) []string {
	env := compute.MergeEnv([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp"}, i.Env)
	for _, list := range more {
		env = compute.MergeEnv(env, list)
	}
	return env
}

// lookUp finds who an image's USER is: "", "name", "1000", "name:group",
// "1000:1000". The databases are the image's own, and so is the error.
func lookUp(spec string, passwd, group []byte) (user, error) {
	var u user
	name, groupName, hasGroup := strings.Cut(spec, ":")
	if name == "" {
		name = "0"
	}
	entry := entryOf(passwd, name)
	switch {
	case len(entry) >= 4:
		uid, uidErr := id(entry[2])
		gid, gidErr := id(entry[3])
		if uidErr != nil || gidErr != nil {
			return u, fmt.Errorf("its /etc/passwd has a malformed line for %.100q", name)
		}
		u.UID, u.GID, name = uid, gid, entry[0]
	default:
		uid, err := id(name)
		if err != nil {
			return u, fmt.Errorf("its user %.100q is not in its /etc/passwd: %w", name, err)
		}
		u.UID = uid
	}
	if hasGroup && groupName != "" {
		gid, err := id(groupName)
		if entry := entryOf(group, groupName); len(entry) >= 3 {
			gid, err = id(entry[2])
		}
		if err != nil {
			return u, fmt.Errorf("its group %.100q is not in its /etc/group: %w", groupName, err)
		}
		u.GID = gid
		return u, nil
	}
	u.Groups = groupsOf(group, name)
	return u, nil
}

// entryOf is the line of a database for a name or a number.
func entryOf(database []byte, key string) []string {
	var byNumber []string
	scan := bufio.NewScanner(bytes.NewReader(database))
	for scan.Scan() {
		fields := strings.Split(scan.Text(), ":")
		if len(fields) < 3 {
			continue
		}
		if fields[0] == key {
			return fields
		}
		if fields[2] == key && byNumber == nil {
			byNumber = fields
		}
	}
	return byNumber
}

func groupsOf(database []byte, member string) []uint32 {
	var groups []uint32
	scan := bufio.NewScanner(bytes.NewReader(database))
	for scan.Scan() && len(groups) < maxGroups {
		fields := strings.Split(scan.Text(), ":")
		if len(fields) < 4 {
			continue
		}
		for m := range strings.SplitSeq(fields[3], ",") {
			if gid, err := id(fields[2]); err == nil && m == member {
				groups = append(groups, gid)
			}
		}
	}
	return groups
}

func id(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%.100q is not a number", s)
	}
	if n >= idsPerContainer-1 {
		return 0, fmt.Errorf("%d is not below %d, the most that a container has here", n, idsPerContainer-1)
	}
	return uint32(n), nil
}

func badImage(format string, args ...any) error {
	return fmt.Errorf("%w: the image cannot be run: %w", compute.ErrBadProgram, fmt.Errorf(format, args...))
}
