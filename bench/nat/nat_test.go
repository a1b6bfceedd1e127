package nat

import (
	"errors"
	"os"
	"testing"

	"github.com/moyai-network/moyai/bench/measure"
	"github.com/moyai-network/moyai/devnet/homes"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == Argument {
		os.Exit(Main(os.Args[2]))
	}
	os.Exit(m.Run())
}

// TestRun: everything is measured where it can be.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a small internet of namespaces and fills its lines")
	}
	var report measure.Report
	err := Run(t.Context(), &report, t.Logf)
	if errors.Is(err, homes.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if missing := report.Missing([]string{"punch_ms", "forward_direct_ratio", "forward_relayed_ratio", "forward_direct_ratio_unshaped"}); len(missing) > 0 {
		t.Errorf("not measured: %v", missing)
	}
	for _, name := range []string{"punch_ms", "forward_tcp_mib_s", "forward_direct_mib_s", "forward_relayed_mib_s", "forward_direct_ratio", "forward_relayed_ratio", "forward_direct_ratio_unshaped", "forward_relayed_ratio_unshaped"} {
		e, _ := report.Get(name)
		t.Logf("%s %v %s", name, e.Value, e.Unit)
	}
}
