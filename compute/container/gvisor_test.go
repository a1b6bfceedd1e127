//go:build linux

package container

import (
	"testing"

	"github.com/moyai-network/moyai/compute"
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
