package demo

import (
	"fmt"
	"path/filepath"

	"github.com/moyai-network/moyai/examples/pathtracer/tiles"
)

// grid is how the picture is divided among tasks.
var grid = tiles.Grid{Columns: 6, Rows: 4}

// sceneFile is the scene as the program sees it.
const sceneFile = "/in/scene/moai.scene"

// programArgs are the path tracer's arguments.
func programArgs() []string {
	return []string{"-scene", sceneFile, "-grid", fmt.Sprintf("%dx%d", grid.Columns, grid.Rows)}
}

// assemble puts the tiles that came back together.
func assemble(o Options, picture string) error {
	if err := tiles.Assemble(filepath.Join(o.Dir, tilesDir), grid, picture); err != nil {
		return fmt.Errorf("put the picture together: %w", err)
	}
	return nil
}
