package filename

// Here is the same for this system.
func Here(name string) bool { return Windows(name) }
