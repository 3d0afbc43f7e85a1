package main

import (
	"os"
	"strings"
	"testing"
)

func TestConfigurationPageIsCurrent(t *testing.T) {
	var want strings.Builder
	if err := writeMarkdown(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Error("docs/configuration.md is not what the struct says: run make docs")
	}
}

func TestEveryVariableIsExplained(t *testing.T) {
	for _, v := range append(variables(Config{}), variables(UpstreamBlock{})...) {
		if v.Name == "" || !strings.HasSuffix(v.Doc, ".") && !strings.Contains(v.Doc, "=") {
			t.Errorf("%q has no sentence that explains it: %q", v.Name, v.Doc)
		}
		if strings.Contains(v.Doc, "|") {
			t.Errorf("%s: a | breaks the table", v.Name)
		}
	}
}
