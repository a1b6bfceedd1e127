package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes. A program run by `moyai run` passes its own through, so a script
// that must tell them apart uses --json.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a command line that makes no sense. It exits with 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// hinted is an error with advice on what to do next.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

func withHint(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// exitError ends the program with a code of somebody else's choosing. It was
// reported already.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// report prints an error the way people (or, with --json, programs) read it,
// and returns the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	if exit := new(exitError); errors.As(err, &exit) {
		return exit.code
	}
	code := exitFailure
	if usage := new(usageError); errors.As(err, &usage) {
		code = exitUsage
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	hint := ""
	if h := new(hinted); errors.As(err, &h) {
		hint = h.hint
	}
	if a.json {
		_ = json.NewEncoder(a.err).Encode(struct {
			Error string `json:"error"`
			Hint  string `json:"hint,omitempty"`
		}{err.Error(), hint})
		return code
	}
	fmt.Fprintf(a.err, "moyai: %s\n", strings.TrimSpace(err.Error()))
	if hint != "" {
		fmt.Fprintf(a.err, "hint: %s\n", hint)
	}
	return code
}

// args wraps a cobra argument check so that what it refuses is a usage error
// that shows the right form.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := check(cmd, given); err != nil {
			return usagef("%w; the form is: %s", err, cmd.UseLine())
		}
		return nil
	}
}
