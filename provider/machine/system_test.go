package machine

import "testing"

// TestSystemElsewhere: where there is no proc, the operating system is asked, and
// what it does not know leaves what is known.
func TestSystemElsewhere(t *testing.T) {
	memory := Memory{Total: 8 << 30, Available: 3 << 30}
	m := look(t, Sources{Root: t.TempDir(), System: func() (string, Memory) { return "Some Processor", memory }})
	if m.Memory != memory || m.CPU.Model != "Some Processor" {
		t.Errorf("%+v %+v", m.CPU, m.Memory)
	}
	m = look(t, Sources{Root: t.TempDir(), System: func() (string, Memory) { return "", memory }})
	if m.CPU.Model == "" {
		t.Error("no name at all for the processor")
	}
}
