package compute

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moyai-network/moyai/compute/egress"
)

func valid() Spec {
	return Spec{Dir: "/d", Program: "/p.wasm", Args: []string{"a"}, Env: []string{"K=v"}, Inputs: []Input{{"in", "/i"}}}
}

func TestSpecValidate(t *testing.T) {
	if s := valid(); s.Validate() != nil {
		t.Fatal(s.Validate())
	}
	for name, tc := range map[string]struct {
		change func(*Spec)
		want   string
	}{
		"relative dir":       {func(s *Spec) { s.Dir = "d" }, "not absolute"},
		"no program":         {func(s *Spec) { s.Program = "" }, "not absolute"},
		"too many arguments": {func(s *Spec) { s.Args = make([]string, MaxArgs+1) }, "1025 arguments"},
		"zero byte":          {func(s *Spec) { s.Args = []string{"a\x00b"} }, "argument 1"},
		"huge argument":      {func(s *Spec) { s.Args = []string{strings.Repeat("x", MaxArgBytes)} }, "at most 131072"},
		"huge environment":   {func(s *Spec) { s.Env = []string{"K=" + strings.Repeat("x", MaxArgBytes)} }, "at most 131072"},
		"no value":           {func(s *Spec) { s.Env = []string{"K"} }, "KEY=VALUE"},
		"no key":             {func(s *Spec) { s.Env = []string{"=v"} }, "KEY=VALUE"},
		"negative timeout":   {func(s *Spec) { s.Limits.Timeout = -time.Second }, "negative"},
		"too many cores":     {func(s *Spec) { s.Limits.CPUMilli = MaxCPUMilli + 1 }, "thousandths of a core"},
		"too many processes": {func(s *Spec) { s.Limits.Pids = MaxPids + 1 }, "65537 processes"},
		"shm over memory":    {func(s *Spec) { s.Limits.MemoryBytes, s.Limits.ShmBytes = 1, 2 }, "shared memory"},
		"input twice":        {func(s *Spec) { s.Inputs = []Input{{"a", "/a"}, {"a", "/b"}} }, "used twice"},
		"relative input":     {func(s *Spec) { s.Inputs = []Input{{"a", "a"}} }, "not absolute"},
		"relative volume":    {func(s *Spec) { s.Volumes = []Volume{{"v", "/v"}} }, "not absolute"},
		"volume nowhere":     {func(s *Spec) { s.Volumes = []Volume{{"/v", "v"}} }, "absolute path"},
		"volume over all":    {func(s *Spec) { s.Volumes = []Volume{{"/v", "/"}} }, "runtime's own"},
		"volume over proc":   {func(s *Spec) { s.Volumes = []Volume{{"/v", "/proc/self"}} }, "runtime's own"},
		"volume twice":       {func(s *Spec) { s.Volumes = []Volume{{"/v", "/v"}, {"/v", "/w"}} }, "twice"},
		"too many volumes":   {func(s *Spec) { s.Volumes = make([]Volume, MaxVolumes+1) }, "65 volumes"},
		"too many inputs":    {func(s *Spec) { s.Inputs = make([]Input, MaxInputs+1) }, "257 inputs"},
		"egress to nowhere":  {func(s *Spec) { s.Egress = &Egress{Bytes: 1} }, "without a policy"},
		"egress of nothing":  {func(s *Spec) { s.Egress = &Egress{Policies: make([]egress.Policy, 1)} }, "budget of bytes"},
		"egress unlogged": {func(s *Spec) {
			s.Egress = &Egress{Policies: make([]egress.Policy, 1), Bytes: 1, Ledger: "/l"}
		}, "egress log"},
		"egress log nowhere": {func(s *Spec) {
			s.Egress = &Egress{Policies: make([]egress.Policy, 1), Bytes: 1, Ledger: "/l", LogBytes: MinEgressLog}
		}, "not absolute"},
		"egress of many flows": {func(s *Spec) {
			s.Egress = &Egress{Policies: make([]egress.Policy, 1), Bytes: 1, Flows: MaxEgressFlows + 1}
		}, "4097 egress flows"},
	} {
		s := valid()
		tc.change(&s)
		if err := s.Validate(); !errors.Is(err, ErrInvalidSpec) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "data.csv": true, "ü": true, "...": true, "a b": true,
		"": false, ".": false, "..": false, "a/b": false, `a\b`: false, "a\x00": false, "/": false, strings.Repeat("a", MaxName+1): false,
	} {
		if got := ValidName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestRunValidate(t *testing.T) {
	s := valid()
	for _, tc := range []struct {
		run  Run
		want string
	}{
		{Run{ID: "x", Dir: "/d/t"}, ""},
		{Run{ID: "x", Dir: "/d/a/b/c", Stdin: "/d/in"}, ""},
		{Run{ID: "x", Dir: "/d/..t"}, ""},
		{Run{ID: "", Dir: "/d/t"}, "task id"},
		{Run{ID: strings.Repeat("x", MaxID+1), Dir: "/d/t"}, "task id"},
		{Run{ID: "x", Dir: "/d"}, "not below"},
		{Run{ID: "x", Dir: "/d/../e"}, "not below"},
		{Run{ID: "x", Dir: "/dd"}, "not below"},
		{Run{ID: "x", Dir: "d/t"}, "not absolute"},
		{Run{ID: "x", Dir: "/d/t", Stdin: "/etc/passwd"}, "stdin"},
	} {
		err := tc.run.Validate(&s)
		if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, ErrInvalidSpec) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%+v: got %v, want %q", tc.run, err, tc.want)
		}
	}
}

func TestMergeEnv(t *testing.T) {
	got := MergeEnv([]string{"A=1", "B=2", "A=3"}, []string{"C=4", "B=5"})
	if want := []string{"A=3", "B=5", "C=4"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestReasons: names are kept in journals and on the wire, so they neither
// change nor repeat.
func TestReasons(t *testing.T) {
	want := []string{"unknown", "exited", "trap", "deadline", "memory", "output-limit", "log-limit", "stopped", "crashed", "disk-full", "lost"}
	for i, name := range want {
		if got := Reason(i).String(); got != name {
			t.Errorf("reason %d is %q, want %q", i, got, name)
		}
		if got := ParseReason(name); got != Reason(i) {
			t.Errorf("%q is reason %d, want %d", name, got, i)
		}
	}
	if Reason(200).String() != "unknown" || ParseReason("nonsense") != ReasonUnknown {
		t.Error("what is not known has a name")
	}
	for _, r := range []Reason{ReasonExited, ReasonTrap, ReasonDeadline, ReasonMemory, ReasonOutputLimit, ReasonLogLimit, ReasonStopped} {
		if r.ProvidersFault() {
			t.Errorf("%v is blamed on the provider", r)
		}
	}
}
