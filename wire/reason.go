package wire

// knownReason stands here until mechanism/lease has the enumeration.
func knownReason(r uint64) bool { return r > 0 && r < 64 }
