//go:build !linux

package e2e

import "testing"

func dockerd(*testing.T) string { return "needs Linux" }
