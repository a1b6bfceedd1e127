//go:build unix && !linux

package worker

const noReserve = 0

func adviseHuge([]byte) {}
