// Package launch reads out of an image how it is to be run: what program, as whom,
// where, with which environment. What an image says is a stranger's word: it is
// bounded and checked here.
//
// It runs nothing and knows no engine.
package launch

import (
	"bufio"
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/image/archive"
)

// Plan is how an image is to be run. It is plain data, so that a record can keep it.
type Plan struct {
	Env, Entrypoint, Cmd []string
	WorkingDir           string
	User                 User
	Passwd, Group        []byte // its own user database
}

// IDs is how many user ids an image may expect to have.
const IDs = 65536

// User is who a container runs as, in its own numbers.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

// maxGroups bounds supplementary groups.
const maxGroups = 1024

// Of takes over what an image says about how to run it. Its user is found by As, once
// the image was verified.
//
// Errors: compute.ErrBadProgram.
func Of(img *archive.Image) (*Plan, error) {
	c := &img.Config
	bytes := len(c.WorkingDir) + len(c.User)
	for _, list := range [][]string{c.Env, c.Entrypoint, c.Cmd} {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return nil, Bad("its configuration contains a zero byte")
			}
			bytes += len(s)
		}
	}
	if len(c.Env) > compute.MaxEnv || len(c.Entrypoint)+len(c.Cmd) > compute.MaxArgs || bytes > compute.MaxArgBytes {
		return nil, Bad("its environment and command take %d bytes, at most %d are accepted", bytes, compute.MaxArgBytes)
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
	if NotOfImage(dir) {
		return nil, Bad("its working directory %.100q is not part of it", dir)
	}
	return &Plan{Env: env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, WorkingDir: dir}, nil
}

// NotOfImage reports that a working directory is the kernel's. One there was once
// a way to an open folder of the host (CVE-2024-21626). runc looks out for it; no
// honest program needs it.
func NotOfImage(dir string) bool {
	for _, system := range []string{"/proc", "/sys", "/dev"} {
		if dir == system || strings.HasPrefix(dir, system+"/") {
			return true
		}
	}
	return false
}

// Command is what runs: the entrypoint, then the arguments given, or the image's
// own where none are, as container engines do.
func (p *Plan) Command(args []string) ([]string, error) {
	if len(args) == 0 {
		args = p.Cmd
	}
	command := append(append([]string{}, p.Entrypoint...), args...)
	if len(command) == 0 {
		return nil, Bad("it names neither an entrypoint nor a command: say what to run")
	}
	if command[0] == "" {
		return nil, Bad("the first word of its command is empty")
	}
	return command, nil
}

// Environment is the image's, with a place for files that programs keep in HOME,
// as the image's own home cannot be written.
func (p *Plan) Environment(more ...[]string) []string {
	env := compute.MergeEnv([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp"}, p.Env)
	for _, list := range more {
		env = compute.MergeEnv(env, list)
	}
	return env
}

// As settles who the program runs as, from a verified image.
//
// Errors: compute.ErrBadProgram.
func (p *Plan) As(img *archive.Image) (err error) {
	if p.User, err = LookUp(img.Config.User, img.Passwd, img.Group); err != nil {
		return Bad("%w", err)
	}
	p.Passwd, p.Group = img.Passwd, img.Group
	return nil
}

// LookUp finds who an image's USER is: "", "name", "1000", "name:group",
// "1000:1000". The databases are the image's own, and so is the error.
func LookUp(spec string, passwd, group []byte) (User, error) {
	var u User
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
	if n >= IDs-1 {
		return 0, fmt.Errorf("%d is not below %d, the most that a container has here", n, IDs-1)
	}
	return uint32(n), nil
}

// Bad says that an image cannot be run, and why.
func Bad(format string, args ...any) error {
	return fmt.Errorf("%w: the image cannot be run: %w", compute.ErrBadProgram, fmt.Errorf(format, args...))
}
