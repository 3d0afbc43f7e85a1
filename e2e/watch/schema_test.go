package watch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/e2e/tools"
)

// mistakes are what Grafana would not understand, or would pass over in silence.
var mistakes = []struct{ name, old, new string }{
	{"a_panel_of_no_plugin", `"type":"stat"`, `"type":"stats"`},
	{"an_option_misspelt", `"graphMode":"none"`, `"graphMod":"none"`},
	{"an_option_with_no_such_value", `"colorMode":"background"`, `"colorMode":"backgrund"`},
	{"an_option_of_another_panel", `"sizing":"auto"`, `"wideLayout":true`},
	{"an_option_that_is_missing", `,"textMode":"value"`, ``},
	{"a_field_misspelt", `"fillOpacity"`, `"fillOpacit"`},
	{"a_field_with_no_such_value", `"drawStyle":"line"`, `"drawStyle":"lines"`},
	{"a_query_without_an_expression", `"expr":"count(ALERTS`, `"exp":"count(ALERTS`},
	{"a_unit_misspelt", `"unit"`, `"units"`},
	{"a_mapping_of_no_kind", `"type":"value"`, `"type":"values"`},
	{"a_mode_of_thresholds", `"mode":"absolute"`, `"mode":"absolut"`},
	{"a_variable_of_no_type", `"type":"query"`, `"type":"queries"`},
	{"a_refresh_out_of_range", `"refresh":2`, `"refresh":9`},
	{"a_place_in_another_grid", `"w":4`, `"width":4`},
	{"a_version_in_quotes", `"schemaVersion":42`, `"schemaVersion":"42"`},
}

// A board is written into a program as a literal: then TypeScript looks for fields that a type does not have, too.
func TestBoardsAreWhatGrafanasTypesSay(t *testing.T) {
	t.Parallel()
	dir := compilation(t)
	write := func(name, text string) {
		program := "import type { Board, Grafanas } from \"./board\";\nexport const board: Board = " + text + ";\nexport const grafanas: Grafanas = board;\n"
		if err := os.WriteFile(filepath.Join(dir, name+".ts"), []byte(program), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range boardFiles {
		_, text := readBoard(t, name)
		write(name, text)
	}
	sound := sample(t)
	for _, m := range mistakes {
		broken := strings.Replace(sound, m.old, m.new, 1)
		if broken == sound {
			t.Fatalf("%s: the board has no %s", m.name, m.old)
		}
		write(m.name, broken)
	}
	found := compile(t, dir)
	for _, name := range boardFiles {
		for _, complaint := range found[name] {
			t.Errorf("%s.json, line %s", name, complaint)
		}
		delete(found, name)
	}
	for _, m := range mistakes {
		if len(found[m.name]) == 0 {
			t.Errorf("%s: not noticed", m.name)
		}
		delete(found, m.name)
	}
	for file, complaints := range found {
		t.Errorf("%s.ts: %q", file, complaints)
	}
}

// sample is the overview with one panel of each kind, for the compiler is slow.
func sample(t *testing.T) string {
	t.Helper()
	_, text := readBoard(t, "overview")
	var whole map[string]any
	if err := json.Unmarshal([]byte(text), &whole); err != nil {
		t.Fatal(err)
	}
	kinds := map[any]bool{}
	whole["panels"] = slices.DeleteFunc(whole["panels"].([]any), func(p any) bool {
		kind := p.(map[string]any)["type"]
		again := kinds[kind]
		kinds[kind] = true
		return again
	})
	b, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// compilation is a folder with the types, ready to compile boards.
func compilation(t *testing.T) string {
	t.Helper()
	packages, err := tools.Npm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"board.ts", "tsconfig.json"} {
		b, err := os.ReadFile(filepath.Join("schema", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// complaint is a line of tsc's output: overview.ts(97,7): error TS2820: ...
var complaint = regexp.MustCompile(`(?m)^(\w+)\.ts\((\d+),\d+\): (error .*)$`)

// compile runs the compiler and returns its complaints by file, with the line of the board, which begins in the program's
// second.
func compile(t *testing.T, dir string) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "node_modules", "typescript", "bin", "tsc"), "--project", dir, "--pretty", "false")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, dir
	err := cmd.Run()
	found := map[string][]string{}
	for _, m := range complaint.FindAllStringSubmatch(out.String(), -1) {
		line, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		found[m[1]] = append(found[m[1]], fmt.Sprintf("%d: %s", line-1, m[3]))
	}
	if err != nil && len(found) == 0 {
		t.Fatalf("tsc: %v\n%s", err, out.String())
	}
	return found
}

func TestNpmsLockFileNamesNoRegistry(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "tools", "npm", "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, named := range []string{`"resolved"`, "://"} {
		if strings.Contains(string(b), named) {
			t.Errorf("it has %s", named)
		}
	}
}
