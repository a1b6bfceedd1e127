package machine

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// telling are the processor features that programs are built for or fail
// without; the kernel lists some hundred.
var telling = []string{
	"sse4_2", "avx", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_tile", "amx_int8", "aes", "sha_ni", // x86
	"asimd", "asimddp", "sve", "sve2", "i8mm", "bf16", "sha2", // ARM
}

// armParts are cores as /proc/cpuinfo numbers them: implementer and part.
var armParts = map[string]string{
	"0x41:0xd03": "Arm Cortex-A53", "0x41:0xd08": "Arm Cortex-A72", "0x41:0xd0b": "Arm Cortex-A76",
	"0x41:0xd0c": "Arm Neoverse-N1", "0x41:0xd40": "Arm Neoverse-V1", "0x41:0xd49": "Arm Neoverse-N2",
	"0x41:0xd4f": "Arm Neoverse-V2", "0xc0:0xac3": "Ampere-1", "0xc0:0xac4": "Ampere-1a",
}

func (t tree) cpu(groups Groups) CPU {
	info := t.read("proc/cpuinfo", smallFile)
	c := CPU{
		Model:   cpuModel(info, t.word("proc/device-tree/model")),
		Online:  span(t.word("sys/devices/system/cpu/online")),
		Allowed: span(field(t.read("proc/self/status", smallFile), "Cpus_allowed_list", ":")),
	}
	if c.Online == 0 {
		c.Online = runtime.NumCPU()
	}
	if c.Allowed == 0 || c.Allowed > c.Online { // the mask also names processors that are not there
		c.Allowed = c.Online
	}
	c.Milli = uint64(c.Allowed) * 1000
	if c.Allowed < c.Online {
		c.Limit = fmt.Sprintf("this process may run on %d of %d", c.Allowed, c.Online)
	}
	if quota := t.cpuQuota(groups); quota > 0 && quota < c.Milli {
		c.Milli, c.Limit = quota, "a control group's quota"
	}
	has := strings.Fields(field(info, "flags", ":"))
	has = append(has, strings.Fields(field(info, "Features", ":"))...)
	c.Features = []string{}
	for _, f := range telling {
		if slices.Contains(has, f) {
			c.Features = append(c.Features, f)
		}
	}
	return c
}

func cpuModel(info, board string) string {
	if name := field(info, "model name", ":"); name != "" {
		return strings.Join(strings.Fields(name), " ")
	}
	name := armParts[field(info, "CPU implementer", ":")+":"+field(info, "CPU part", ":")]
	board = strings.TrimRight(board, "\x00")
	switch {
	case name != "" && board != "":
		return name + " (" + board + ")"
	case name != "":
		return name
	case board != "":
		return board
	}
	return "unknown processor"
}

// cpuQuota is the least that this group or one above it may use, in thousandths
// of a core; 0 without a quota.
func (t tree) cpuQuota(groups Groups) uint64 {
	g, ok := groups.Of("cpu")
	if !ok {
		return 0
	}
	least := uint64(0)
	for _, dir := range g.Up() {
		var quota, period string
		if g.V2 {
			quota, period, _ = strings.Cut(t.word(dir+"/cpu.max"), " ")
		} else {
			quota, period = t.word(dir+"/cpu.cfs_quota_us"), t.word(dir+"/cpu.cfs_period_us")
		}
		q, errQ := strconv.ParseUint(quota, 10, 32) // "max" and -1 do not parse: no quota
		p, errP := strconv.ParseUint(period, 10, 32)
		if errQ != nil || errP != nil || p == 0 {
			continue
		}
		if milli := max(q*1000/p, 1); least == 0 || milli < least {
			least = milli
		}
	}
	return least
}
