package machine

import (
	"strconv"
	"strings"
)

func (t tree) memory(groups Groups) Memory {
	info := t.read("proc/meminfo", smallFile)
	m := Memory{Total: kib(info, "MemTotal"), Available: kib(info, "MemAvailable")}
	g, ok := groups.Of("memory")
	if !ok {
		return m
	}
	limitFile, useFile, cacheField := "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
	if g.V2 {
		limitFile, useFile, cacheField = "memory.max", "memory.current", "inactive_file"
	}
	for _, dir := range g.Up() {
		limit, ok := t.number(dir + "/" + limitFile) // "max" is no number
		if !ok || limit >= m.Total {
			continue // version 1 says "no limit" with a huge number
		}
		if m.Limit == 0 || limit < m.Limit {
			m.Limit = limit
		}
		used, _ := t.number(dir + "/" + useFile)
		// Cached files count as used and are given up when something needs the room.
		cache, _ := strconv.ParseUint(field(t.read(dir+"/memory.stat", smallFile), cacheField, " "), 10, 64)
		used -= min(cache, used)
		m.Available = min(m.Available, limit-min(used, limit))
	}
	return m
}

// kib is a field of /proc/meminfo in bytes.
func kib(info, name string) uint64 {
	number, _, _ := strings.Cut(field(info, name, ":"), " ")
	n, err := strconv.ParseUint(number, 10, 53)
	if err != nil {
		return 0
	}
	return n << 10
}
