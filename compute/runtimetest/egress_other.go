//go:build !linux

package runtimetest

import "testing"

func (*suite) testUplink(t *testing.T) { t.Skip("egress is tested on Linux") }
