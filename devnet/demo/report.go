package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Report is the outcome as data. Only OrderToOutputMS is measured at the tenant,
// who alone can see it.
type Report struct {
	*Bill
	Tiles           int   `json:"tiles"`
	TilesBack       int   `json:"tiles_back"`
	OrderToOutputMS int64 `json:"order_to_output_ms"`
}

// Save writes a report or a bill as JSON, the whole file or none of it.
func Save(report any, path string) error {
	raw, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return os.Rename(path+".new", path)
}

func (r *Report) write(w io.Writer, picture string) error {
	if err := r.Bill.write(w, "TILES"); err != nil {
		return err
	}
	fmt.Fprintf(w, "first output %d ms after the order\n", r.OrderToOutputMS)
	_, err := fmt.Fprintf(w, `
the picture is %s

try next:
  moyai devnet --dir ./net                           keep a network running
  moyai quote --cpu 1 --memory 512Mi                 ask what a machine costs
  moyai run --max-price 0.05MOY/h prog.wasm          run your own program
  moyai provide --home ./p3 --price cpu=0.02MOY/h    earn with this machine
`, picture)
	return err
}
