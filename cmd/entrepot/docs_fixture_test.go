package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// docPage is a page of the documentation. Its code is kept apart from its text: in code [a](b) is no link.
type docPage struct {
	name  string // from the root of the repository
	lines int
	words int
	text  string // without fences and code spans
	spans []string
	all   string
	fence []fence
}

type fence struct{ language, text string }

const docsRoot = "../.."

var (
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	comment  = regexp.MustCompile(`(?s)<!--.*?-->`)
)

// docPages are those that people read.
func docPages(t *testing.T) []docPage {
	t.Helper()
	names := []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
	for _, folder := range []string{"docs", "deploy"} {
		err := filepath.WalkDir(filepath.Join(docsRoot, folder), func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Ext(p) == ".md" {
				name, _ := filepath.Rel(docsRoot, p)
				names = append(names, filepath.ToSlash(name))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var all []docPage
	for _, name := range names {
		all = append(all, readPage(t, name))
	}
	return all
}

func readPage(t *testing.T, name string) docPage {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(docsRoot, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	p := docPage{name: name, all: string(content), words: len(bytes.Fields(content))}
	var text strings.Builder
	inFence := false
	for line := range strings.Lines(p.all) {
		p.lines++
		switch marker, isMarker := strings.CutPrefix(strings.TrimSpace(line), "```"); {
		case isMarker && !inFence:
			inFence = true
			p.fence = append(p.fence, fence{language: marker})
		case isMarker:
			inFence = false
		case inFence:
			p.fence[len(p.fence)-1].text += line
		default:
			text.WriteString(line)
		}
	}
	if inFence {
		t.Errorf("%s: a fence is not closed", name)
	}
	for _, m := range codeSpan.FindAllStringSubmatch(text.String(), -1) {
		p.spans = append(p.spans, m[1])
	}
	p.text = comment.ReplaceAllString(codeSpan.ReplaceAllString(text.String(), ""), "")
	return p
}

var simpleCommands = regexp.MustCompile(`&&|\|\||[|;()]`)

// ourCommands gives the arguments of each entrepot that a line of a shell calls, also in a container.
func ourCommands(line string) (all [][]string) {
	line, _, _ = strings.Cut(line, " #")
	for _, simple := range simpleCommands.Split(line, -1) {
		words := strings.Fields(simple)
		for len(words) > 0 && strings.Contains(words[0], "=") {
			words = words[1:]
		}
		at := slices.IndexFunc(words, func(w string) bool { return w == "/entrepot" || w == "./cmd/entrepot" })
		if len(words) > 0 && words[0] == "entrepot" {
			at = 0
		}
		if at >= 0 {
			all = append(all, words[at+1:])
		}
	}
	return all
}

// wrongCommand says what of a command line does not exist; nothing where all of it does.
func wrongCommand(args []string) string {
	began := false
	called, rest, err := commandLine(invocation{args: args}, &began).Find(args)
	if err != nil {
		return err.Error()
	}
	for _, a := range rest {
		name, isFlag := strings.CutPrefix(strings.Trim(a, "[]"), "--")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && name != "" && name != "help" && called.Flag(name) == nil {
			return "there is no flag --" + name
		}
	}
	word := slices.IndexFunc(rest, func(a string) bool { return !strings.HasPrefix(a, "-") })
	if called.HasAvailableSubCommands() && word >= 0 && !isProse(rest[word], called) {
		return "there is no such command"
	}
	return ""
}

// isProse is for words behind the program's name that only describe it.
func isProse(word string, called *cobra.Command) bool {
	return strings.ToUpper(word) == word || word == "..." || called.Name() == "help"
}
