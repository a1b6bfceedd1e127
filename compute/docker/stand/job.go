// Package stand is the small process that stands over one Docker container: it has
// Docker create and start it, keeps and bounds its logs, measures what it writes,
// ends it when a limit or a stop says so, and leaves an account of how it ended.
//
// It outlives the provider that started it. It knows nothing of images and specs:
// everything is decided before it starts and handed to it as a Job. What Docker can
// hold by itself (memory, processes, system calls) it leaves to Docker.
package stand

import (
	"github.com/moby/moby/api/types/container"

	"github.com/moyai-network/moyai/compute"
)

// Labels of a container, by which those that nobody stands over are found.
const (
	LabelHome = "network.moyai.home" // the runtime's folder
	LabelLock = "network.moyai.lock" // what is locked while somebody stands over it
	LabelTask = "network.moyai.task" // for a person
)

// Files in a task's directory.
const (
	StateFile    = "task.json" // the caller's record, written before the first instruction
	CountersFile = "counters"  // what it used, as last measured
	Log          = "supervisor.log"
)

// Job is all that a supervisor needs to know. It is read from standard input as
// one line of JSON.
type Job struct {
	Name string // of the container
	Dir  string // the task's directory
	Host string // where Docker listens
	ImageLock,
	TaskLock string // files to hold a lock on: shared, and alone
	Stdin  string // host path, or empty
	Limits compute.Limits

	Config     *container.Config
	HostConfig *container.HostConfig
}

// Elsewhere says that Docker has a machine of its own. What a container has open there,
// and so what it takes of the disk, is not to be seen from here.
const Elsewhere = "this Docker runs its containers in a machine of its own (as Docker Desktop does), where what they write cannot be measured: run dockerd on this machine"

// maxMessage bounds what the caller says.
const maxMessage = 4 << 20
