//go:build !unix

package runtimetest

import "errors"

func makeFIFO(string) error { return errors.ErrUnsupported }
