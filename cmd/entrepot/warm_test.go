package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
)

// warmed runs warm --json and gives what it says of each image.
func (s site) warmed(want int, args ...string) (reports []cache.WarmReport) {
	s.t.Helper()
	code, out, errs := typed("", s.environment, append([]string{"warm", "--json"}, args...)...)
	wantCode(s.t, want, code, errs+out)
	for line := range strings.Lines(out) {
		var r cache.WarmReport
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		reports = append(reports, r)
	}
	return reports
}

// warmSites are a server, and a directory that does not exist yet, both with an upstream.
func warmSites(t *testing.T, test func(t *testing.T, s site, up *upstreamRegistry), pairs ...string) {
	for _, online := range []bool{true, false} {
		t.Run(map[bool]string{true: "in the server", false: "before its first start"}[online], func(t *testing.T) {
			up := newUpstreamRegistry(t)
			data := filepath.Join(t.TempDir(), "data")
			pairs := append([]string{"DATA=" + data, "UPSTREAMS=docker.io=" + up.URL, "DISK_SIZE=64MiB", "MIN_FREE=0", "MEMORY_SIZE=8MiB", "HOSTED=corp"}, pairs...)
			s := site{data: data}
			if online {
				s.running = start(t, pairs...)
			} else {
				s.running = &running{t: t, environment: environment(pairs...)}
			}
			test(t, s, up)
		})
	}
}

func TestWarm(t *testing.T) {
	warmSites(t, func(t *testing.T, s site, up *upstreamRegistry) {
		reports := s.warmed(exitOK, "team/app:1", "docker.io/team/app:1")
		for _, r := range reports {
			if r.Status != cache.WarmComplete || r.Image != "docker.io/team/app:1" || r.Bytes < int64(len(up.blob)) || len(r.Complete) != 2 || len(r.Missing) != 0 {
				t.Errorf("%+v", r)
			}
		}
		if len(reports) != 2 {
			t.Fatalf("%d reports", len(reports))
		}
		s.want("docker.io/team/app", "ls")

		code, out, errs := typed("", s.environment, "warm", "team/app:2", "team/app:1")
		wantCode(t, exitFailed, code, errs)
		if !strings.Contains(errs, "1 of 2 images are not complete") || !strings.Contains(out, "missing image: ") {
			t.Errorf("it says %q and %q", out, errs)
		}
		up.Close()
		s.want("complete    docker.io/team/app@"+string(reports[0].Digest), "warm", "--referrers=false", "team/app@"+string(reports[0].Digest))
	})
}

func TestWarmReadsImagesFromFiles(t *testing.T) {
	warmSites(t, func(t *testing.T, s site, up *upstreamRegistry) {
		file := filepath.Join(t.TempDir(), "images")
		if err := os.WriteFile(file, []byte("# ours\nteam/app:1  # the one\n\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := s.warmed(exitOK, "--file", file); len(r) != 1 {
			t.Errorf("%+v", r)
		}
		code, out, errs := typed("team/app:1\nteam/app:1\n", s.environment, "warm", "--file", "-")
		if wantCode(t, exitOK, code, errs); strings.Count(out, "complete  ") != 2 {
			t.Errorf("it says %q", out)
		}
	})
}

func TestWarmRefusesAndReports(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte("incoming:\n  - deny: [docker.io/evil/**]\n    because: it bites\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	warmSites(t, func(t *testing.T, s site, up *upstreamRegistry) {
		for name, want := range map[string]string{
			"evil/app:1":            "it bites",
			"team/app:none":         "not found",
			"gcr.example/app:1":     "no such upstream is configured",
			"team/app:$TAG":         "is not a tag",
			"corp/app:1":            "nobody has pushed it",
			"Team/app:1":            "not the name of a repository",
			"team/app@sha256:short": "is not a digest",
		} {
			r := s.warmed(exitFailed, name, "team/app:1")
			if len(r) != 2 || r[0].Status != cache.WarmIncomplete || len(r[0].Missing) != 1 || !strings.Contains(r[0].Missing[0].Why, want) {
				t.Errorf("%s: %+v, want %q", name, r, want)
			}
			if r[1].Status != cache.WarmComplete {
				t.Errorf("beside %s: %+v", name, r[1])
			}
		}
	}, "POLICY="+policy)
}

func TestWarmOfWhatIsHostedFetchesNothing(t *testing.T) {
	everywhere(t, func(s *stored) { pushImage(t, s.hosted.Repo("app"), "1", []byte("layer")) }, func(t *testing.T, s site) {
		s.environment[prefix+"LISTEN"] = "127.0.0.1:0" // as the server has it
		if r := s.warmed(exitOK, "127.0.0.1:0/app:1"); len(r) != 1 || r[0].Status != cache.WarmComplete || !strings.Contains(r[0].Note, "hosted here") {
			t.Errorf("%+v", r)
		}
	})
}

func TestWarmIsUsedRightly(t *testing.T) {
	for name, c := range map[string]struct{ args, says string }{
		"no image":        {"warm", "name images, or a file of them by --file"},
		"an empty file":   {"warm --file -", "names no image"},
		"a missing file":  {"warm --file /nowhere/images", "no such file"},
		"no platform":     {"warm --platform amd64 nginx", `"amd64" is not a platform: write linux/amd64`},
		"a platform list": {"warm --platform linux/amd64,windows nginx", `"windows" is not a platform`},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := typed("", environment("DATA="+t.TempDir()), strings.Fields(c.args)...)
			wantCode(t, exitUsage, code, errs)
			if !strings.Contains(errs, c.says) {
				t.Errorf("it says %q", errs)
			}
		})
	}
}

func TestImagesAsPeopleWriteThem(t *testing.T) {
	d := string(digest.FromString("x"))
	w := &warmer{names: &proxy.Names{Default: "docker.io", Upstreams: []string{"docker.io", "gcr.io"}, Hosted: []string{"corp"}, Self: []string{"127.0.0.1:5000", "cache.corp"}}}
	for s, want := range map[string]string{
		"nginx":                          "docker.io/library/nginx:latest",
		"nginx:1.27@" + d:                "docker.io/library/nginx@" + d,
		"docker.io/nginx":                "docker.io/library/nginx:latest",
		"index.docker.io/grafana/loki:3": "docker.io/grafana/loki:3",
		"gcr.io/distroless/static":       "gcr.io/distroless/static:latest",
		"127.0.0.1:5000/gcr.io/a/b:1":    "gcr.io/a/b:1",
		"127.0.0.1:5000/library/nginx:1": "docker.io/library/nginx:1",
		"cache.corp/my-image:1":          "/my-image:1",
		"corp/app":                       "/corp/app:latest",
	} {
		home, ref, err := w.parse(s)
		if got := spelled(home.Registry+"/"+home.Name, ref); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", s, got, err, want)
		}
	}
}

var someProgress = warmState{WarmProgress: cache.WarmProgress{Images: 2, Known: 2, Have: 5 << 20, Bytes: 9 << 20, Notes: []string{"a note"},
	Current: []cache.WarmNow{{Image: "docker.io/team/app:1", Have: 1, Bytes: 2}}}}

// What a stranger's index says is shown, but does nothing to a terminal.
func TestTextsOfStrangersAreCleaned(t *testing.T) {
	evil := "\x1b]0;title\x07\x1b[2J\ncomplete  \u202e\u009b1m\xff " + strings.Repeat("long", 1000)
	var out, errs strings.Builder
	in := invocation{out: &out, errs: &errs}
	in.showWarming().tell(warmState{WarmProgress: cache.WarmProgress{Images: 1, Known: 1, Notes: []string{evil}, Current: []cache.WarmNow{{Image: evil}}}})
	reports := []cache.WarmReport{{Image: "app " + evil, Status: cache.WarmIncomplete, Note: evil,
		Missing: []cache.WarmPart{{What: "platform", Name: evil, Digest: digest.Digest(evil), Size: 1, Why: evil}}}}
	if err := in.printWarmed(reports); err != nil {
		t.Fatal(err)
	}
	shown := out.String() + errs.String()
	if strings.ContainsFunc(shown, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) || strings.Count(shown, "\n") != 4 {
		t.Errorf("it shows %q", shown)
	}
	if len(shown) > 7*4*mostRunes || !strings.Contains(shown, "]0;title") {
		t.Errorf("it shows %d bytes: %.300q", len(shown), shown)
	}
	out.Reset()
	if err := printJSON(in, reports...); err != nil {
		t.Fatal(err)
	}
	var kept cache.WarmReport
	if err := json.Unmarshal([]byte(out.String()), &kept); err != nil || kept.Missing[0].Name != strings.ToValidUTF8(evil, "\ufffd") {
		t.Errorf("JSON does not have it as it is: %v, %+v", err, kept.Missing)
	}
}

func TestWarmingIsToldInLines(t *testing.T) {
	var lines strings.Builder
	shown := invocation{errs: &lines}.showWarming()
	for range 3 {
		shown.tell(someProgress)
	}
	shown.end()
	if want := "entrepot: a note\nlooked through images: 2 of 2; have 5.0 MiB of 9.0 MiB\n"; lines.String() != want {
		t.Errorf("got %q, want %q", lines.String(), want)
	}
}
