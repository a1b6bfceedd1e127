package supervise

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moyai-network/moyai/compute/internal/cgroup"
	"github.com/moyai-network/moyai/compute/internal/taskrecord"
)

// rounds bounds killing a session that is hard to kill; the container's limit of
// processes bounds what it can grow to.
const rounds = 100

// killSession ends all processes of a container that are of one session. A
// process that has begun a session of its own, as daemons do, is not among them.
//
// They are stopped first: a fork bomb whose members are killed one by one has
// room for new ones, and one whose members are stopped has not.
func killSession(c cgroup.Group, session int) {
	for range rounds {
		stopped := map[int]bool{}
		for fresh := true; fresh; {
			fresh = false
			for _, pid := range c.Processes() {
				if !stopped[pid] && signalIn(pid, session, unix.SIGSTOP) {
					stopped[pid], fresh = true, true
				}
			}
		}
		for _, pid := range c.Processes() {
			signalIn(pid, session, unix.SIGKILL)
		}
		if len(stopped) == 0 {
			return
		}
		time.Sleep(time.Millisecond) // they take a moment to die
	}
}

// signalIn sends a signal to a process if it is of the session and has not ended.
func signalIn(pid, session int, sig unix.Signal) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	// Looked at after opening: what the handle names cannot change any more.
	fields, err := taskrecord.Stat(pid)
	if err != nil || fields[0] == "Z" || fields[0] == "X" || fields[3] != strconv.Itoa(session) {
		return false
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0) == nil
}
