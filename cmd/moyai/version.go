package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version",
		Args:  args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
				Cosmos   string `json:"cosmos_sdk"`
				Comet    string `json:"cometbft"`
				Libp2p   string `json:"libp2p"`
			}{version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH,
				dependency("github.com/cosmos/cosmos-sdk"), dependency("github.com/cometbft/cometbft"), dependency("github.com/libp2p/go-libp2p")}
			return a.print(v, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "moyai %s (%s, %s; cosmos-sdk %s, cometbft %s, libp2p %s)\n",
					v.Version, v.Go, v.Platform, v.Cosmos, v.Comet, v.Libp2p)
				return err
			})
		},
	}
}

// dependency is the version of a module this binary was built with.
func dependency(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "unknown"
}
