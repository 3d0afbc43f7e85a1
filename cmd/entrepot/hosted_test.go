package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
)

// send makes a request with a body and gives the status.
func (r *running) send(method, path, body string) int {
	r.t.Helper()
	request, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// pushBlob pushes with one request.
func (r *running) pushBlob(repo, content string) int {
	r.t.Helper()
	return r.send(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digest.FromString(content).String(), content)
}

func TestWhatWasPushedIsKeptWithoutADiskTierToo(t *testing.T) {
	data := "DATA=" + t.TempDir()
	r := start(t, data, "DISK_SIZE=0", "MEMORY_SIZE=0")
	if status := r.pushBlob("app", "layer"); status != http.StatusCreated {
		t.Fatalf("push: %d", status)
	}
	if code := r.stop(); code != exitOK {
		t.Fatalf("the server ended with %d", code)
	}
	path := "/v2/app/blobs/" + digest.FromString("layer").String()
	r = start(t, data)
	if code, body := r.get(r.url + path); code != http.StatusOK || string(body) != "layer" {
		t.Errorf("after a restart: %d %q", code, body)
	}
	if _, text := r.get(r.admin + "/metrics"); !strings.Contains(string(text), `entrepot_http_requests_total{registry="hosted",route="blob",status="200"`) {
		t.Errorf("the pull is not counted:\n%s", text)
	}
}

func TestReadOnlyAndUndeletable(t *testing.T) {
	data := t.TempDir()
	open(t, data, func(s *stored) { pushImage(t, s.hosted.Repo("app"), "1", []byte("layer")) })
	tag, blob := "/v2/app/manifests/1", "/v2/app/blobs/"+digest.FromString("layer").String()
	for name, c := range map[string]struct {
		env             string
		push, tag, blob int
	}{
		"read-only":         {"READ_ONLY=true", 405, 405, 405},
		"only tags go":      {"DELETE=tags", 201, 202, 405},
		"nothing goes":      {"DELETE=none", 201, 405, 405},
		"only blobs may go": {"DELETE=blobs", 201, 405, 202},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, "DATA="+data, c.env)
			got := []int{r.pushBlob("app", "layer"), r.send(http.MethodDelete, tag, ""), r.send(http.MethodDelete, blob, "")}
			if want := []int{c.push, c.tag, c.blob}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("push, delete of a tag, of a blob: %v, want %v", got, want)
			}
			r.stop()
			open(t, data, func(s *stored) { pushImage(t, s.hosted.Repo("app"), "1", []byte("layer")) }) // for the next
		})
	}
}

func TestHostedTagsAreListed(t *testing.T) {
	prepare := func(s *stored) {
		pushImage(t, s.hosted.Repo("nginx"), "mine", []byte("a"))
		pushImage(t, s.hosted.Repo("team/app"), "v1", []byte("b"))
		pushImage(t, s.hosted.Repo("team/app"), "v2", []byte("c"))
	}
	everywhere(t, prepare, func(t *testing.T, s site) {
		s.environment[prefix+"HOSTED"] = "team"
		for args, want := range map[string]string{
			"":         "nginx mine, team/app v1, team/app v2",
			"team/app": "team/app v1, team/app v2",
			"nginx":    "nginx mine", // beside what is cached of docker.io/library/nginx
			"redis":    "",
		} {
			code, out, errs := s.command(append([]string{"ls"}, strings.Fields(args)...)...)
			if args == "team/app" && s.running.url != "" {
				continue // whose name that is, the server's own configuration says
			}
			var got []string
			for line := range strings.Lines(out) {
				if f := strings.Fields(line); len(f) == 4 && f[3] == "hosted" {
					got = append(got, f[0]+" "+f[1])
				}
			}
			if code != exitOK || strings.Join(got, ", ") != want {
				t.Errorf("ls %s: %d %q %s, want %q", args, code, out, errs, want)
			}
		}
		s.want(`"hosted":true}`, "ls", "--json", "nginx")
	})
}

func TestPurgeSaysHowToDeleteWhatWasPushed(t *testing.T) {
	s := running{t: t, environment: environment("DATA="+t.TempDir(), "HOSTED=team")}
	for _, ref := range []string{"team/app:1", "my-image:1"} {
		if code, _, errs := s.command("purge", ref); code != exitFailed || !strings.Contains(errs, "DELETE /v2/NAME/manifests/") {
			t.Errorf("%s: %d %s", ref, code, errs)
		}
	}
}

// unconditional is a store where every writer wins.
type unconditional struct{ storage.Store }

func (u unconditional) PutIf(ctx context.Context, key string, record []byte, _ storage.Version) (storage.Version, error) {
	return storage.ContentVersion(record), u.Put(ctx, key, strings.NewReader(string(record)), int64(len(record)))
}

// full is a store that takes nothing.
type full struct{ storage.Store }

func (full) PutIf(context.Context, string, []byte, storage.Version) (storage.Version, error) {
	return storage.Absent, storage.ErrNoSpace
}

func TestNoPushesWhereTheyCouldBeLost(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	if err := probe(t.Context(), unconditional{mem.New(time.Now)}, logger); !errors.Is(err, storage.ErrUnconditional) || !strings.Contains(err.Error(), "pushes could be lost") {
		t.Errorf("a store without conditions: %v", err)
	}
	if err := probe(t.Context(), mem.New(time.Now), logger); err != nil || log.Len() > 0 {
		t.Errorf("a good store: %v %s", err, &log)
	}
	if err := probe(t.Context(), full{mem.New(time.Now)}, logger); err != nil || !strings.Contains(log.String(), "not be writable") {
		t.Errorf("a full disk must not keep a server from serving: %v %s", err, &log)
	}
}

func TestProbesOfAKilledProcessAreRemoved(t *testing.T) {
	s := mem.New(time.Now)
	for _, key := range []string{"probe/one", "probe/two", "probed"} {
		if _, err := s.PutIf(t.Context(), key, []byte("x"), storage.Absent); err != nil {
			t.Fatal(err)
		}
	}
	if err := probe(t.Context(), s, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	var left []string
	for info, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, info.Key)
	}
	if len(left) != 1 || left[0] != "probed" {
		t.Errorf("left: %v", left)
	}
}

func TestDamageInTheCacheIsDroppedAndNoFailure(t *testing.T) {
	u := newUpstreamRegistry(t)
	data := t.TempDir()
	r := start(t, "DATA="+data, "UPSTREAMS=docker.io="+u.URL, "MEMORY_SIZE=0")
	r.pull(u)
	if code := r.stop(); code != exitOK {
		t.Fatalf("the server ended with %d", code)
	}
	blobs, err := filepath.Glob(filepath.Join(data, "cache", "*", "*", "*", digest.FromBytes(u.blob).Encoded()))
	if err != nil || len(blobs) != 1 {
		t.Fatalf("blobs in the cache: %v, %v", blobs, err)
	}
	flip(t, blobs[0])
	r = start(t, "DATA="+data, "UPSTREAMS=docker.io="+u.URL, "MEMORY_SIZE=0")
	r.want("cached "+digest.FromBytes(u.blob).String()+" was damaged and is dropped", "verify")
	if _, text := r.get(r.admin + "/metrics"); !strings.Contains(string(text), "entrepot_cache_damaged_total 1") {
		t.Error("the damage is not counted")
	}
	r.want("cached: sound blobs: 0, 0 B; damaged: 0", "verify")
	r.pull(u)
}
