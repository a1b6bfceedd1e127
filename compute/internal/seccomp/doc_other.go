//go:build !linux

// Package seccomp takes system calls away from a process of ours; only Linux has
// it.
package seccomp
