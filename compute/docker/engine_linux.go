package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/docker/socket"
)

// asking bounds one question to the daemon.
const asking = 10 * time.Second

// engine is the Docker daemon, and who its containers are on this machine.
type engine struct {
	*client.Client
	host       string
	repository string // of images
	info       system.Info

	mapped    bool   // containers have a user namespace
	remap     uint32 // the host's number of their user 0, if mapped and we are root
	remapGID  uint32
	ownUser   bool // containers run as this process's own user
	innerRoot bool // which is what a daemon without root calls 0
}

// connect finds the daemon and checks that its containers would be held.
//
// Errors: compute.ErrUnavailable, with what to do; ctx's.
func connect(ctx context.Context, path string) (*engine, error) {
	path, err := find(path)
	if err != nil {
		return nil, err
	}
	e := &engine{host: "unix://" + path}
	if e.Client, err = client.New(client.WithHost(e.host)); err != nil {
		return nil, unavailable("docker", err)
	}
	asked, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	answer, err := e.Info(asked, client.InfoOptions{})
	if err != nil {
		err = errors.Join(failed(ctx, "ask "+path, err), e.Client.Close())
		return nil, err
	}
	e.info = answer.Info
	if err := e.judge(os.Geteuid()); err != nil {
		return nil, errors.Join(err, e.Client.Close())
	}
	return e, nil
}

// find returns the first socket that lets this user in, or why none does.
func find(path string) (string, error) {
	places := socket.Usual()
	if path != "" {
		places = []string{path}
	}
	if len(places) == 0 {
		return "", fmt.Errorf("%w: DOCKER_HOST=%s is not a socket of this machine, and containers need files of this machine: unset it", compute.ErrUnavailable, os.Getenv("DOCKER_HOST"))
	}
	var why error
	for _, p := range places {
		c, err := (&net.Dialer{Timeout: asking}).Dial("unix", p)
		if err == nil {
			_ = c.Close()
			return p, nil
		}
		if why == nil || errors.Is(why, fs.ErrNotExist) {
			why = err
		}
	}
	switch {
	case errors.Is(why, fs.ErrPermission):
		return "", fmt.Errorf("%w: the Docker socket refuses this user: add yourself to its group (sudo usermod -aG docker $USER) and log in again", compute.ErrUnavailable)
	case errors.Is(why, fs.ErrNotExist):
		return "", fmt.Errorf("%w: no Docker is running here: there is no %s (sudo systemctl start docker)", compute.ErrUnavailable, strings.Join(places, ", nor "))
	case errors.Is(why, syscall.ECONNREFUSED):
		return "", fmt.Errorf("%w: Docker's daemon does not run: sudo systemctl start docker", compute.ErrUnavailable)
	}
	return "", unavailable("docker", why)
}

// judge refuses a daemon whose containers could not be held, and finds out who they
// are on this machine.
func (e *engine) judge(uid int) error {
	i := &e.info
	cannot := func(format string, args ...any) error {
		return fmt.Errorf("%w: this Docker (%s) %s", compute.ErrUnavailable, i.ServerVersion, fmt.Sprintf(format, args...))
	}
	has := func(name string) bool {
		return slices.ContainsFunc(i.SecurityOptions, func(o string) bool { return o == "name="+name || strings.HasPrefix(o, "name="+name+",") })
	}
	switch {
	case i.OSType != "linux":
		return cannot("runs %s containers: switch it to Linux containers", i.OSType)
	case !has("seccomp"):
		return cannot("filters no system calls, so its containers could use every one: use a build with seccomp")
	case has("selinux"):
		return cannot("labels files for SELinux, which is not supported yet: use --containers=container")
	case !i.MemoryLimit || !i.PidsLimit || !i.CPUCfsQuota:
		return cannot("cannot limit memory, processes and cores alike (%v, %v, %v): see `docker info`; without root it needs cgroup v2 and systemd's delegation", i.MemoryLimit, i.PidsLimit, i.CPUCfsQuota)
	}
	switch {
	case has("rootless") && uid == 0:
		return cannot("belongs to another user: run the provider as that user")
	case has("rootless"):
		e.ownUser, e.innerRoot = true, true // its root is this user
	case has("userns") && uid != 0:
		return cannot("maps users, so only root can collect what programs write: run the provider as root")
	case has("userns"):
		base, gid, ok := remapped(i.DockerRootDir)
		if !ok {
			return cannot("maps users, and does not say where to (%s)", i.DockerRootDir)
		}
		e.mapped, e.remap, e.remapGID = true, base, gid
	case uid != 0:
		e.ownUser = true
	}
	return nil
}

// remapped reads out of the daemon's folder what its containers' user 0 is: it keeps
// those of each mapping apart, as in /var/lib/docker/100000.100000.
func remapped(root string) (uid, gid uint32, ok bool) {
	u, g, found := strings.Cut(filepath.Base(root), ".")
	a, err := strconv.ParseUint(u, 10, 32)
	b, err2 := strconv.ParseUint(g, 10, 32)
	return uint32(a), uint32(b), found && err == nil && err2 == nil && a > 0
}

// identity is who a container is, inside and on the host.
type identity struct {
	UID, GID         int      // inside
	Groups           []string // supplementary
	HostUID, HostGID int
}

// as says who a container is that its image wants to be a user. slot tells containers
// apart where there is nobody but numbers.
func (e *engine) as(uid, gid uint32, groups []uint32, slot uint32) identity {
	switch {
	case e.ownUser:
		id := identity{HostUID: os.Geteuid(), HostGID: os.Getegid()}
		if !e.innerRoot {
			id.UID, id.GID = id.HostUID, id.HostGID
		}
		return id
	case e.mapped:
		id := identity{UID: int(uid), GID: int(gid), HostUID: int(e.remap + uid), HostGID: int(e.remapGID + gid)}
		for _, g := range groups {
			id.Groups = append(id.Groups, strconv.Itoa(int(g)))
		}
		return id
	}
	u, g := int(slot+uid), int(slot+gid)
	return identity{UID: u, GID: g, HostUID: u, HostGID: g}
}

// failed is an error of asking the daemon.
func failed(ctx context.Context, what string, err error) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	// Over its socket errors are words, with the owner's paths in them.
	for words, errno := range map[string]error{"no space left": syscall.ENOSPC, "quota exceeded": syscall.EDQUOT} {
		if strings.Contains(err.Error(), words) {
			return unavailable("docker: "+what, errno)
		}
	}
	return unavailable("docker: "+what, err)
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", compute.ErrUnavailable, what, err)
}
