package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/entrepot/entrepot"

// layers says which of our own packages each one may import. What is not listed may import none.
var layers = map[string][]string{
	"cmd/entrepot":        {"metrics", "proxy", "proxy/clientconfig", "proxy/replica", "proxy/upstream", "proxy/access", "cache", "storage", "storage/hosted", "storage/disk", "storage/mem", "storage/s3"},
	"metrics":             {"proxy", "proxy/upstream", "proxy/access", "cache", "storage/hosted"},
	"proxy":               {"proxy/replica", "proxy/upstream", "proxy/access", "proxy/ui", "proxy/clientconfig", "cache", "storage/hosted", "storage"},
	"proxy/replica":       {"proxy/upstream", "cache"},
	"proxy/upstream":      {"cache"},
	"proxy/access":        {"storage"},
	"cache":               {"storage"},
	"storage/hosted":      {"storage"},
	"storage/disk":        {"storage"},
	"storage/mem":         {"storage"},
	"storage/s3":          {"storage"},
	"storage/storagetest": {"storage"},
}

// homes says where each library that would otherwise spread may be imported, and why only there.
var homes = []struct {
	library string
	reason  string
	allowed []string
}{
	{"github.com/valyala/fasthttp", "what lies below the front door must not depend on the server that serves it", []string{"proxy", "cmd/entrepot"}},
	{"github.com/dgraph-io/ristretto", "the memory tier is the cache's own affair", []string{"cache"}},
	{"github.com/prometheus", "packages tell events; only metrics gives them names", []string{"metrics", "cmd/entrepot"}},
	{"github.com/caarlos0/env", "configuration is read once, at the edge, and handed on as plain options", []string{"cmd/entrepot"}},
	{"github.com/spf13/cobra", "what can be typed is the affair of the program, and not of what it calls", []string{"cmd/entrepot"}},
	{"github.com/aws/", "clouds are reached from one place each", []string{"proxy/upstream", "storage/s3"}},
	{"net/http", "the cache, the hosted repositories and the stores of files and memory know no HTTP", []string{"proxy", "proxy/replica", "proxy/upstream", "storage/s3", "cmd/entrepot"}},
}

func TestImportsPointOneWay(t *testing.T) {
	packages := listPackages(t)
	if len(packages) < 5 {
		t.Fatalf("go list found only %d packages", len(packages))
	}
	for _, p := range packages {
		for _, imported := range p.Imports {
			if own, ours := strings.CutPrefix(imported, module+"/"); ours {
				if !slices.Contains(layers[p.name()], own) {
					t.Errorf("%s imports %s: imports point one way, cmd -> metrics -> proxy -> {proxy/replica, proxy/upstream, proxy/access, proxy/ui, cache, storage/hosted} -> storage, "+
						"so that each package can be read and tested without those above it", p.name(), own)
				}
				continue
			}
			for _, home := range homes {
				if (imported == home.library || strings.HasPrefix(imported, strings.TrimSuffix(home.library, "/")+"/")) && !slices.Contains(home.allowed, p.name()) {
					t.Errorf("%s imports %s: %s", p.name(), imported, home.reason)
				}
			}
		}
	}
}

type goPackage struct {
	ImportPath string
	Imports    []string // without those of tests
}

func (p goPackage) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	list := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
