package devnet

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
)

// Validator is one validator of a network.
type Validator struct {
	Name string
	Home string
	RPC  string

	role role
}

func (n *Network) newValidator(i int, st validatorPort) *Validator {
	v := &Validator{
		Name: fmt.Sprintf("validator-%d", i+1),
		Home: filepath.Join(n.dir, st.Home),
		RPC:  fmt.Sprintf("http://127.0.0.1:%d", st.RPC),
	}
	if n.cfg.Mode == InProcess {
		v.role = &funcRole{name: v.Name, log: n.logFile(v.Name), run: func(ctx context.Context, log io.Writer) error {
			return runValidator(ctx, v.Home, log)
		}}
		return v
	}
	v.role = n.newProcessRole(v.Name, []string{"chain", "start", "--home", v.Home, "--log-level", "warn"}, nil)
	return v
}

// Start runs the validator; it is an error if it runs already.
func (v *Validator) Start() error { return v.role.start() }

// Stop ends the validator in an orderly way.
func (v *Validator) Stop() { v.role.stop() }

// Kill ends the validator at once, as a power cut would.
func (v *Validator) Kill() { v.role.kill() }

// PID is the process that runs the validator.
func (v *Validator) PID() int { return v.role.pid() }

// Log is the validator's log file.
func (v *Validator) Log() string { return v.role.logPath() }
