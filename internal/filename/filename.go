// Package filename says which names that strangers choose can name a file here.
// Windows reads more into a name than Unix does: other separators, streams,
// devices, and dots and spaces that it takes away at the end.
//
// It judges single names, not paths, and not whether they are wise.
package filename

import "strings"

// Windows reports whether Windows takes name for the name of a file, and of
// nothing else.
func Windows(name string) bool {
	if name == "" || name[len(name)-1] == '.' || name[len(name)-1] == ' ' {
		return false
	}
	for _, r := range name {
		switch r {
		case '/', '\\', ':', '*', '?', '"', '<', '>', '|':
			return false
		}
		if r < 0x20 {
			return false
		}
	}
	return !device(name)
}

// device reports that Windows, in some version, opens a device by this name. What
// stands behind a dot does not change that.
func device(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		if n, ok := strings.CutPrefix(stem, port); ok && n != "" {
			return strings.Contains("0 1 2 3 4 5 6 7 8 9 ¹ ² ³", n)
		}
	}
	return false
}
