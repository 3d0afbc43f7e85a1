package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker (make build, the container image); without it, Go's own record of the build says them.
var version, commit string

// Build says what this binary was made of.
type Build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionCommand(in invocation) *cobra.Command {
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print version and commit",
		Example: `  entrepot version --json`,
	}
	asJSON := jsonFlag(c)
	c.RunE = func(*cobra.Command, []string) error {
		if *asJSON {
			return printJSON(in, build())
		}
		_, err := fmt.Fprintln(in.out, build())
		return err
	}
	return c
}

func build() Build {
	b := Build{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(b.Version, info.Main.Version)
	if b.Commit == "" {
		b.Commit = recordedCommit(info.Settings)
	}
	return b
}

// recordedCommit is the commit that the go command noted, marked where the tree had changes beside it.
func recordedCommit(settings []debug.BuildSetting) string {
	var revision, modified string
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	if revision == "" {
		return "unknown"
	}
	return revision + modified
}

func (b Build) String() string {
	return fmt.Sprintf("entrepot %s, commit %s, %s, %s", cmp.Or(b.Version, "devel"), b.Commit, b.Go, b.Platform)
}
