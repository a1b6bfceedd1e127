package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/internal/cgroup"
)

// OCI is the program that makes containers: runc, or gVisor's runsc, which has
// runc's command line. It is plain data, so that a record can keep it.
type OCI struct {
	// Tier tells the two apart: TierContainer is runc, TierGVisor is runsc.
	Tier compute.Tier
	Path string // of the program
	Root string // its state directory
	// CountsPids says that runsc can be told a limit of processes: scripts/gvisor.sh
	// builds one that can.
	CountsPids bool
	// Uplinked says that runsc takes over the network that it finds in its
	// container's namespace, rather than giving it a loopback and nothing else.
	Uplinked bool
}

// gvisorFlags are the same for every call: runsc hands those of any of them on to
// the sandbox.
var gvisorFlags = []string{
	"--platform=systrap",
	"--gofer-network-namespace=new", // the default one is kept, mounted in Root
	"--overlay2=none",               // the root file system is read-only, so nothing need lie over it
	"--in-sandbox-cgroup=v2",        // it counts processes there
	"--oci-seccomp",                 // the same filter as with runc, before gVisor's kernel
	"--host-settings=ignore",
	"--sidecar-usage-policy=LEGACY_DEPRECATED_SLOW_EMBEDDED_FALLBACK", // runsc alone is all there is
}

// GVisor reports that it is runsc.
func (o OCI) GVisor() bool { return o.Tier == compute.TierGVisor }

// root is the state directory for one container. runsc gets one for each, since
// what it leaves in it has many names.
func (o OCI) root(id string) string {
	if o.GVisor() {
		return filepath.Join(o.Root, id)
	}
	return o.Root
}

// Command is one call about the container id. log is a file that receives what it
// has to say, as lines of JSON; empty: standard error.
func (o OCI) Command(id, log string, args ...string) *exec.Cmd {
	flags := []string{"--root", o.root(id)}
	if log != "" {
		flags = append(flags, "--log", log, "--log-format", "json")
	}
	if o.GVisor() {
		network := "none"
		if o.Uplinked {
			network = "sandbox"
		}
		flags = append(append(flags, "--network="+network), gvisorFlags...)
		if log != "" {
			flags = append(flags, "--panic-log", filepath.Join(filepath.Dir(log), PanicLog))
		}
	}
	cmd := exec.Command(o.Path, append(flags, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	return cmd
}

// Delete kills and removes a container, its processes and its control groups,
// however far it had come. One that is not there is no error.
func (o OCI) Delete(id string) error {
	said, err := o.Command(id, "", "delete", "--force", id).CombinedOutput()
	if err != nil && !bytes.Contains(said, []byte("does not exist")) {
		return fmt.Errorf("%s delete: %w: %s", filepath.Base(o.Path), err, bytes.TrimSpace(said))
	}
	return o.forget(id)
}

// forget removes what the program itself does not know of: a container that it was
// killed over has a control group and processes, but no record.
func (o OCI) forget(id string) error {
	err := cgroup.Clear(CgroupParent + id)
	if o.GVisor() {
		err = errors.Join(err, os.RemoveAll(o.root(id)))
	}
	return err
}
