// Package fifo is a pipe that two processes find by a path below a folder of
// theirs: one writes, one reads once. Nothing in it outlives them. On Windows it
// is a named pipe of the user's own, and nothing appears at the path.
package fifo
