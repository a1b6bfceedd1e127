//go:build !unix

package main

import "github.com/moyai-network/moyai/client"

// watch: nothing tells of a new size here.
func (k keyboard) watch() (sizes <-chan client.TerminalSize, stop func()) { return nil, func() {} }
