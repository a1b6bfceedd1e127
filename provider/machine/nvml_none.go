//go:build !cgo || !linux

package machine

import "fmt"

const libraryFix = "build moyai for Linux with CGO_ENABLED=1"

type noLibrary struct{}

func library(string) NVML { return noLibrary{} }

// Read implements NVML.
func (noLibrary) Read() (Driver, error) {
	return Driver{}, fmt.Errorf("%w: it needs a build for Linux with cgo (CGO_ENABLED=1)", ErrNoNVML)
}

// Use implements NVML.
func (n noLibrary) Use() ([]uint, error) {
	_, err := n.Read()
	return nil, err
}
