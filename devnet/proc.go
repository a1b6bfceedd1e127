package devnet

import (
	"bytes"
	"strconv"
)

// statusKiB reads one line such as "VmRSS:	  1234 kB" of /proc/PID/status, in
// bytes; 0 if it is not there.
func statusKiB(status []byte, field string) uint64 {
	for line := range bytes.Lines(status) {
		words := bytes.Fields(line)
		if len(words) >= 2 && string(words[0]) == field {
			n, err := strconv.ParseUint(string(words[1]), 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
