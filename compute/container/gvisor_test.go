//go:build linux

package container

import (
	"io"
	"slices"
	"strconv"
	"testing"

	"github.com/moyai-network/moyai/compute"
	"github.com/moyai-network/moyai/compute/container/supervise"
)

// TestGVisor runs everything that makes containers again, with runsc in the place
// of runc.
func TestGVisor(t *testing.T) {
	tier = compute.TierGVisor
	defer func() { tier = compute.TierContainer }()
	need(t)
	t.Run("Conformance", TestConformance)
	t.Run("Configuration", TestConfiguration)
	t.Run("EvilLinks", TestEvilLinks)
	t.Run("ProviderKilled", TestProviderKilled)
	t.Run("ContainerdKilled", TestContainerdKilled)
	t.Run("SupervisorKilled", TestSupervisorKilled)
	t.Run("Sweep", TestSweep)
	t.Run("StartCancelled", TestStartCancelled)
	t.Run("Lost", TestLost)
	t.Run("DiskFull", TestDiskFull)
	t.Run("EnterOrphan", TestEnterOrphan)
	t.Run("EntererKilled", TestEntererKilled)
	t.Run("EnterAtTheEnd", TestEnterAtTheEnd)
	t.Run("EnterSupervisorKilled", TestEnterSupervisorKilled)
	t.Run("EnterFull", TestEnterFull)
	t.Run("EnterFolderOfHost", TestEnterFolderOfHost)
	t.Run("EgressKilled", TestEgressKilled)
	t.Run("EgressGatewayWalls", TestEgressGatewayWalls)
	t.Run("EgressWithoutGateway", TestEgressWithoutGateway)
	t.Run("ToolInTheWay", TestToolInTheWay)
	t.Run("FilterTellsWhatIsMissing", TestFilterTellsWhatIsMissing)
}

// TestSwitchboardKilled: what connects inside is within the tenant's reach. Ended
// there, it ends its connections, and is there again for the next.
func TestSwitchboardKilled(t *testing.T) {
	tier = compute.TierGVisor
	defer func() { tier = compute.TierContainer }()
	need(t)
	r := newRuntime(t)
	defer r.Close()
	task, run := begin(t, r, probeImage(t), "serve", "127.0.0.1:4711")
	said(t, run, "port")
	inside := task.(compute.Interactive)
	first, err := inside.Dial(t.Context(), 4711)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	list, err := inside.Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(p compute.ProcessInfo) bool {
		return p.Command == supervise.ToolPath+" "+supervise.ToolMode+" "+supervise.ToolDial
	})
	if i < 0 {
		t.Fatalf("nothing connects there: %+v", list)
	}
	s, err := readState(run)
	if err != nil {
		t.Fatal(err)
	}
	if words, err := s.OCI.Command(s.Container, "", "kill", "--pid", strconv.Itoa(list[i].PID), s.Container, "KILL").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, words)
	}
	if n, err := first.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes from a connection that nothing carries", n)
	}
	second, err := inside.Dial(t.Context(), 4711)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := second.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(second, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}
