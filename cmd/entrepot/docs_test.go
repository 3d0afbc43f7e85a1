package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Two screens are what somebody reads who has something else to do.
func TestPagesAreShort(t *testing.T) {
	const lines, words = 140, 1600
	for _, p := range docPages(t) {
		measured := slices.Contains([]string{"docs/benchmarks.md", "docs/commands.md", "docs/metrics.md", "docs/runbooks.md"}, p.name) // tables to look something up in
		if p.lines > lines && !measured || p.words > words && !measured {
			t.Errorf("%s has %d lines and %d words, more than %d or %d: it is two pages", p.name, p.lines, p.words, lines, words)
		}
	}
}

func TestDocumentedVariablesExist(t *testing.T) {
	known := map[string]bool{
		prefix + "PORT": true, // which Kubernetes would add, as its README explains
	}
	compose, err := os.ReadFile(filepath.Join(docsRoot, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\$\{(`+prefix+`[A-Z_]+)`).FindAllSubmatch(compose, -1) {
		known[string(m[1])] = true // of the compose file itself
	}
	for _, v := range variables(Config{}) {
		known[prefix+v.Name] = true
	}
	for _, v := range variables(UpstreamBlock{}) {
		known[prefix+"UPSTREAM_n_"+v.Name] = true
	}
	name := regexp.MustCompile(prefix + `[A-Za-z0-9_]+\*?`)
	numbered := regexp.MustCompile(`^` + prefix + `UPSTREAM_[0-9]+_`)
	found := 0
	for _, p := range docPages(t) {
		for _, v := range name.FindAllString(p.all, -1) {
			found++
			v = numbered.ReplaceAllString(v, blockPrefix("n"))
			if family, isFamily := strings.CutSuffix(v, "*"); isFamily {
				if !slices.ContainsFunc(variables(Config{}), func(k variable) bool { return strings.HasPrefix(prefix+k.Name, family) }) {
					t.Errorf("%s: no variable begins with %s", p.name, family)
				}
			} else if !known[v] {
				t.Errorf("%s names %s, which does not exist", p.name, v)
			}
		}
	}
	if found < 100 {
		t.Errorf("found only %d", found)
	}
}

// Pages leave ENTREPOT_ out where it is clear. What else stands there in capitals is somebody else's.
func TestDocumentedShortVariablesExist(t *testing.T) {
	capitals := regexp.MustCompile(`^_?[A-Z][A-Z0-9]*(_[A-Z0-9]+)+(=|$)`)
	others := regexp.MustCompile(`^(ENTREPOT|AWS|E2E|BENCH|GF|GRAFANA|PROMETHEUS|MINIO|MSG|HTTPS?_PROXY|NO_PROXY)`)
	var known []string
	for _, v := range slices.Concat(variables(Config{}), variables(UpstreamBlock{})) {
		known = append(known, v.Name)
	}
	for _, p := range docPages(t) {
		if p.name == "CHANGELOG.md" {
			continue // it may name what is gone
		}
		for _, s := range p.spans {
			if !capitals.MatchString(s) || others.MatchString(s) {
				continue
			}
			if name, _, _ := strings.Cut(strings.TrimPrefix(s, "_"), "="); !slices.Contains(known, name) {
				t.Errorf("%s names %s, which is no variable", p.name, s)
			}
		}
	}
}

// The names are those of docs/metrics.md, which is made of the metrics themselves.
func TestDocumentedMetricsExist(t *testing.T) {
	name := regexp.MustCompile(`\bentrepot_[a-z0-9_]+\*?`)
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	known := name.FindAllString(readPage(t, "docs/metrics.md").all, -1)
	found := 0
	for _, p := range docPages(t) {
		for _, m := range name.FindAllString(p.all, -1) {
			found++
			family, isFamily := strings.CutSuffix(m, "*")
			if !slices.ContainsFunc(known, func(k string) bool {
				return k == m || k == suffix.ReplaceAllString(m, "") || isFamily && strings.HasPrefix(k, family)
			}) {
				t.Errorf("%s names %s, which docs/metrics.md does not have", p.name, m)
			}
		}
	}
	if found-len(known) < 3 {
		t.Errorf("found only %d beside those of docs/metrics.md", found-len(known))
	}
}

func TestDocumentedCommandsExist(t *testing.T) {
	found := 0
	for _, p := range docPages(t) {
		code := slices.Clone(p.spans)
		for _, f := range p.fence {
			if f.language == "sh" {
				code = append(code, strings.ReplaceAll(f.text, "\\\n", " "))
			}
		}
		for _, c := range code {
			for line := range strings.Lines(c) {
				for _, args := range ourCommands(line) {
					found++
					if problem := wrongCommand(args); problem != "" {
						t.Errorf("%s: entrepot %s: %s", p.name, strings.Join(args, " "), problem)
					}
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("found only %d", found)
	}
}

var (
	mdLink  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	notSlug = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

func TestDocumentedLinksLead(t *testing.T) {
	anchors := map[string][]string{}
	all := docPages(t)
	for _, p := range all {
		for _, m := range heading.FindAllStringSubmatch(p.all, -1) {
			anchors[p.name] = append(anchors[p.name], slug(m[1]))
		}
	}
	for _, p := range all {
		for _, m := range mdLink.FindAllStringSubmatch(p.text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			name := p.name
			if target != "" {
				name = path.Join(path.Dir(p.name), target)
			}
			if _, err := os.Stat(filepath.Join(docsRoot, filepath.FromSlash(name))); err != nil {
				t.Errorf("%s: a link leads to %s, which does not exist", p.name, name)
			} else if anchor != "" && !slices.Contains(anchors[name], anchor) {
				t.Errorf("%s: %s has no heading #%s", p.name, name, anchor)
			}
		}
	}
}

// slug is what GitHub makes of a heading.
func slug(heading string) string {
	return strings.ReplaceAll(strings.ToLower(notSlug.ReplaceAllString(strings.TrimSpace(heading), "")), " ", "-")
}

// Figures are measured in one place and told elsewhere.
func TestFiguresAreThoseOfTheBenchmarks(t *testing.T) {
	number := regexp.MustCompile(`[0-9]+(\.[0-9]+)?( req/s| GB/s| s\b)`)
	measured := readPage(t, "docs/benchmarks.md").all
	found := 0
	for _, name := range []string{"README.md", "docs/comparison.md"} {
		for line := range strings.Lines(readPage(t, name).text) {
			if !strings.HasPrefix(line, "|") {
				continue
			}
			for _, n := range number.FindAllString(line, -1) {
				found++
				if !strings.Contains(measured, n) {
					t.Errorf("%s says %s, which docs/benchmarks.md does not", name, n)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("found only %d", found)
	}
}
