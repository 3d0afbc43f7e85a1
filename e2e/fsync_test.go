package e2e

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/e2e/fakehub"
	"github.com/entrepot/entrepot/e2e/server"
	"github.com/entrepot/entrepot/e2e/tools"
)

// A process that was killed leaves its writes to the kernel; a power cut does not. So the system calls are looked at: what an
// answer stands for was made durable before the answer was written.
func TestAcknowledgedPushesAreOnStableStorage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("strace is Linux's")
	}
	if err := tools.Debian(t.Context(), "strace"); err != nil {
		t.Fatal(err)
	}
	s := server.Start(t, server.Options{Env: map[string]string{"DEFAULT_UPSTREAM": "none", "ACCESS_LOG": "off"}})
	c, repo := newClient(t, s), "team/app"
	img := fakehub.NewImage(fakehub.Spec{Layers: []int64{3 << 20, 2 << 20}})
	blob := func(b fakehub.Blob) func(context.Context) error {
		return func(ctx context.Context) error { return c.pushBlob(ctx, repo, b) }
	}
	remove := func(ref string) func(context.Context) error {
		return func(ctx context.Context) error {
			if a := c.send(ctx, http.MethodDelete, manifestPath(repo, ref), nil, 0); a.status != http.StatusAccepted {
				return fmt.Errorf("delete %s: status %d, %v: %.300s", ref, a.status, a.err, a.body)
			}
			return nil
		}
	}
	for _, step := range []struct {
		name   string
		do     func(context.Context) error
		status int      // of the last answer
		want   []string // folders below objects/hosted that get files
	}{
		{"push of a config", blob(img.Config), 201, []string{"parts", "blobs", "holds"}},
		{"push of a layer", blob(img.Layers[0]), 201, []string{"parts", "blobs", "holds"}},
		{"push of a layer as docker does", func(ctx context.Context) error { return c.streamBlob(ctx, repo, img.Layers[1]) }, 201, []string{"parts", "blobs", "holds"}},
		{"push of a manifest", func(ctx context.Context) error { return c.pushManifest(ctx, repo, "1", img.Manifest) }, 201, []string{"names", "repos"}},
		{"another tag", func(ctx context.Context) error { return c.pushManifest(ctx, repo, "2", img.Manifest) }, 201, []string{"repos"}},
		{"deletion of a tag", remove("2"), 202, []string{"repos"}},
		{"deletion of a manifest", remove(img.Manifest.Digest.String()), 202, []string{"repos"}},
	} {
		t.Run(step.name, func(t *testing.T) {
			calls := traced(t, s, func() {
				if err := step.do(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			wantDurable(t, calls, step.status, filepath.Join(s.Data, "objects", "hosted"), step.want)
		})
	}
}

// wantDurable fails the test unless every file that got a name below dir before the last answer was durable by then: its
// content before it got the name, its name, and the names of the folders that were made for it. What is deleted gets a
// tombstone in its place first.
func wantDurable(t *testing.T, calls []call, status int, dir string, want []string) {
	t.Helper()
	var answer call
	for _, c := range calls {
		if strings.Contains(c.args, fmt.Sprintf(`"HTTP/1.1 %d`, status)) {
			answer = c
		}
	}
	if answer.name == "" {
		t.Fatalf("no answer with status %d in %d system calls", status, len(calls))
	}
	synced := func(path string, after, before int) bool {
		return slices.ContainsFunc(calls, func(c call) bool {
			return c.is("fsync", "fdatasync") && c.file() == path && c.begin > after && c.end < before
		})
	}
	var got []string
	for _, c := range calls {
		if c.failed || c.begin > answer.begin {
			continue
		}
		paths := c.paths()
		switch {
		case c.is("rename", "renameat", "renameat2", "link", "linkat") && strings.HasPrefix(paths[1], dir+"/"):
			from, to := paths[0], paths[1]
			kind, _, _ := strings.Cut(strings.TrimPrefix(to, dir+"/"), "/")
			got = append(got, kind)
			if written := lastWrite(calls, from, c.begin); !synced(from, written, c.begin) {
				t.Errorf("%s got its name %s before its content was synced", from, to)
			}
			if !synced(filepath.Dir(to), c.end, answer.begin) {
				t.Errorf("the folder of %s was not synced between the rename and the answer", to)
			}
		case c.is("mkdir", "mkdirat") && strings.HasPrefix(paths[0]+"/", dir+"/"):
			if !synced(filepath.Dir(paths[0]), c.end, answer.begin) {
				t.Errorf("the folder above %s was not synced between the mkdir and the answer", paths[0])
			}
		}
	}
	for _, kind := range want {
		if !slices.Contains(got, kind) {
			t.Errorf("no file was made below %s/%s before the answer: only in %q", dir, kind, got)
		}
	}
}

// lastWrite is when the last write to a file ended that began before that moment; -1 for none.
func lastWrite(calls []call, path string, before int) int {
	last := -1
	for _, c := range calls {
		if !c.is("fsync", "fdatasync") && c.file() == path && c.begin < before {
			last = max(last, c.end)
		}
	}
	return last
}

// call is one system call. It was begun and ended in those lines of the trace.
type call struct {
	name, args string
	begin, end int
	failed     bool
}

var (
	traceLine  = regexp.MustCompile(`^(\d+) +(<\.\.\. )?(\w+)(?:\(| resumed>)(.*)\n$`)
	fdArgument = regexp.MustCompile(`^\d+<([^>]*)>`)
	quoted     = regexp.MustCompile(`"([^"]*)"`)
)

func (c call) is(names ...string) bool { return slices.Contains(names, c.name) }

// file is the path of the descriptor that the call was given.
func (c call) file() string {
	if m := fdArgument.FindStringSubmatch(c.args); m != nil {
		return m[1]
	}
	return ""
}

func (c call) paths() (paths []string) {
	for _, m := range quoted.FindAllStringSubmatch(c.args, -1) {
		paths = append(paths, m[1])
	}
	return paths
}

// traced runs work and returns the server's system calls meanwhile, in the order in which they began.
func traced(t *testing.T, s *server.Server, work func()) []call {
	t.Helper()
	const names = "?fsync,?fdatasync,?rename,?renameat,?renameat2,?link,?linkat,?mkdir,?mkdirat," +
		"?write,?writev,?pwrite64,?pwritev,?sendto,?sendmsg,?copy_file_range,?splice"
	file := filepath.Join(t.TempDir(), "trace")
	strace := exec.CommandContext(t.Context(), "strace", "-f", "-y", "-s", "64", "-e", "trace="+names, "-o", file, "-p", fmt.Sprint(s.PID()))
	var output strings.Builder
	strace.Stderr = &output
	if err := strace.Start(); err != nil {
		t.Fatal(err)
	}
	site{T: t}.eventually(20*time.Second, "strace follows every thread", func() bool { return everyThreadTraced(t, s.PID()) })
	work()
	if err := strace.Process.Signal(os.Interrupt); err != nil { // it lets go of the server
		t.Fatal(err)
	}
	_ = strace.Wait() // ended by the signal
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; strace says: %s", err, output.String())
	}
	return parseTrace(string(text))
}

func everyThreadTraced(t *testing.T, pid int) bool {
	t.Helper()
	statuses, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(statuses) == 0 {
		t.Fatalf("threads of %d: %v", pid, err)
	}
	for _, status := range statuses {
		if text, err := os.ReadFile(status); err == nil && strings.Contains(string(text), "TracerPid:\t0\n") {
			return false
		}
	}
	return true
}

// parseTrace reads what strace -f writes: a call that others interrupt has two lines.
func parseTrace(text string) []call {
	var calls []call
	unfinished := map[string]int{} // by thread
	number := 0
	for line := range strings.Lines(text) {
		number++
		m := traceLine.FindStringSubmatch(line)
		if m == nil {
			continue // a signal, or the end of a thread
		}
		thread, resumed, name, rest := m[1], m[2] != "", m[3], m[4]
		if i, ok := unfinished[thread]; ok && resumed {
			calls[i].args += rest
			calls[i].end, calls[i].failed = number, strings.Contains(rest, ") = -1 ")
			delete(unfinished, thread)
			continue
		}
		c := call{name: name, args: rest, begin: number, end: number, failed: strings.Contains(rest, ") = -1 ")}
		if strings.HasSuffix(rest, "<unfinished ...>") {
			c.end = math.MaxInt
			unfinished[thread] = len(calls)
		}
		calls = append(calls, c)
	}
	return calls
}
