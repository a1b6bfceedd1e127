//go:build !unix

package runtimetest

import "testing"

func ownerOf(*testing.T, string) (uint32, bool) { return 0, false }
