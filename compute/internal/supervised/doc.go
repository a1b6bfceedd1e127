// Package supervised is what a runtime and the process that stands over one of its
// tasks have in common, whatever makes the container: the few words between them while
// the task begins, and the task as the runtime holds it from then on.
//
// It makes no container and holds none to its limits: the supervisors do.
package supervised

// Reply is the supervisor's answer, one line of JSON: after the container was
// created, and again after it was started.
type Reply struct {
	Error string // empty: it worked
	PID   int    `json:",omitempty"` // of the container's first process, as the host counts, where the supervisor knows it
}

// Go is what the caller says between the two replies, once its record is
// written.
const Go = "go\n"
