package compute

import (
	"errors"
	"strings"
	"testing"
)

func TestExecValidate(t *testing.T) {
	for _, good := range []Exec{
		{Args: []string{"sh"}, Env: []string{"A="}, Dir: "/", User: "1000:1000", TTY: true},
		{Tool: ToolSFTP}, {Tool: ToolTarIn, Args: []string{"relative"}}, {Tool: ToolTarOut, Args: []string{"/out"}},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for name, tc := range map[string]struct {
		exec Exec
		want string
	}{
		"nothing":            {Exec{}, "no program"},
		"empty program":      {Exec{Args: []string{"", "a"}}, "no program"},
		"zero byte":          {Exec{Args: []string{"a", "b\x00"}}, "argument 2"},
		"too many arguments": {Exec{Args: append([]string{"a"}, make([]string, MaxArgs)...)}, "1025 arguments"},
		"huge":               {Exec{Args: []string{"a", strings.Repeat("x", MaxArgBytes)}}, "at most 131072"},
		"no value":           {Exec{Args: []string{"a"}, Env: []string{"K"}}, "KEY=VALUE"},
		"relative folder":    {Exec{Args: []string{"a"}, Dir: "tmp"}, "working directory"},
		"huge folder":        {Exec{Args: []string{"a"}, Dir: "/" + strings.Repeat("x", MaxPath)}, "working directory"},
		"huge user":          {Exec{Args: []string{"a"}, User: strings.Repeat("x", MaxUser+1)}, "user"},
		"unknown tool":       {Exec{Tool: "rsync"}, `no tool "rsync"`},
		"sftp with words":    {Exec{Tool: ToolSFTP, Args: []string{"-r"}}, "takes no arguments"},
		"tar of nothing":     {Exec{Tool: ToolTarOut}, "one path"},
		"tar of two":         {Exec{Tool: ToolTarOut, Args: []string{"a", "b"}}, "one path"},
		"tar of a long path": {Exec{Tool: ToolTarIn, Args: []string{strings.Repeat("x", MaxPath+1)}}, "one path"},
	} {
		if err := tc.exec.Validate(); !errors.Is(err, ErrInvalidSpec) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}
