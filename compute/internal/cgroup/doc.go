// Package cgroup reads what the kernel accounts for a group of processes, in either
// version of the interface. It sets no limits: whoever makes a container does.
package cgroup
