package s3_test

import (
	"context"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/s3"
	"github.com/entrepot/entrepot/storage/storagetest"
)

// TestMain lets the SDK find these credentials and nothing of the machine's. Parallel tests may be more than the
// processors: they wait for retries, mostly.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "16"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_REGION": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name   string
		quirks quirks
		prefix string
		wrap   func(storage.Store) storage.Store
	}{
		{"bodies that are files, keys listed as they are, below a prefix", quirks{plainKeys: true}, "a/b", func(s storage.Store) storage.Store { return s }},
		{"bodies that are streams, short pages, a view", quirks{page: 7}, "", func(s storage.Store) storage.Store { return storage.Under(streams{s}, "cache") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			storagetest.Conformance(t, func(t *testing.T) storage.Store {
				return c.wrap(newFake(t, c.quirks).open(t, func(o *s3.Options) { o.Prefix = c.prefix }))
			})
		})
	}
}

// streams hides from a store that a body can be read at any place.
type streams struct{ storage.Store }

func (s streams) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	return s.Store.Put(ctx, key, struct{ io.Reader }{body}, size)
}

func TestReopening(t *testing.T) {
	f := newFake(t, quirks{})
	storagetest.Reopening(t, func(t *testing.T) (storage.Store, func()) {
		s := f.open(t)
		return s, func() { _ = s.Close() }
	})
}

func TestAbilities(t *testing.T) {
	whole := newFake(t, quirks{}).open(t)
	for name, s := range map[string]storage.Store{"store": whole, "view": storage.Under(whole, "cache")} {
		if err := storage.DeleteIf(t.Context(), s, "none", storage.Absent); !errors.Is(err, storage.ErrUnable) {
			t.Errorf("%s: DeleteIf = %v, want ErrUnable", name, err)
		}
		if err := storage.Link(t.Context(), s, "a", os.Args[0]); !errors.Is(err, storage.ErrUnable) {
			t.Errorf("%s: Link = %v, want ErrUnable", name, err)
		}
	}
}

func TestProbe(t *testing.T) {
	f := newFake(t, quirks{})
	if err := storage.Probe(t.Context(), f.open(t)); err != nil {
		t.Fatal(err)
	}
	if objects, _ := f.left(); objects != 0 {
		t.Errorf("%d objects left behind", objects)
	}
}

func TestProbeRefusesAServerThatIgnoresConditions(t *testing.T) {
	err := storage.Probe(t.Context(), newFake(t, quirks{unconditional: true}).open(t))
	if !errors.Is(err, storage.ErrUnconditional) || !strings.Contains(err.Error(), "8 of 8 racers won") {
		t.Fatalf("Probe = %v", err)
	}
}

func TestAServerThatIgnoresRanges(t *testing.T) {
	s := newFake(t, quirks{rangeless: true}).open(t)
	if err := s.Put(t.Context(), "a", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	if got, err := read(s, 0, 4); got != "0123" || err != nil {
		t.Errorf("from the start: %q, %v", got, err)
	}
	if got, err := read(s, 2, 4); got != "" || err == nil || !strings.Contains(err.Error(), "asked for 4 bytes at 2, got 10 at 0") {
		t.Errorf("from the middle: %q, %v", got, err)
	}
}

func TestARangeOfAnObjectThatIsReplacedMeanwhile(t *testing.T) {
	f := newFake(t, quirks{})
	s := f.open(t)
	if err := s.Put(t.Context(), "a", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	f.fail(first(1, "GET", status(416, "InvalidRange")))
	if got, err := read(s, 2, 4); got != "2345" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	f.fail(first(always, "GET", status(416, "InvalidRange")))
	if got, err := read(s, 2, 4); err == nil || errors.Is(err, storage.ErrRange) {
		t.Errorf("refused for ever: read %q, %v", got, err)
	}
}

// read gives n bytes of object "a" from off on, and the error of opening or reading it.
func read(s storage.Store, off, n int64) (string, error) {
	r, _, err := s.Open(context.Background(), "a", off, n)
	if err != nil {
		return "", err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	return string(got), err
}

func TestListingsHoldOnlyKeys(t *testing.T) {
	f := newFake(t, quirks{page: 2})
	whole, part := f.open(t), f.open(t, func(o *s3.Options) { o.Prefix = "a" })
	for _, key := range []string{"a/1", "a/2+3 4", "a/b/x", "a0"} {
		if err := whole.Put(t.Context(), key, strings.NewReader(""), 0); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	for _, folder := range []string{"a/", "a/b/"} { // as consoles make them
		f.objects[folder] = &object{etag: `"x"`}
	}
	f.mu.Unlock()
	for name, c := range map[string]struct {
		s    storage.Store
		want string
	}{"whole": {whole, "a/1, a/2+3 4, a/b/x, a0"}, "prefix": {part, "1, 2+3 4, b/x"}} {
		var keys []string
		for info, err := range c.s.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, info.Key)
		}
		if got := strings.Join(keys, ", "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestAListingThatCannotBeTrustedIsAnError(t *testing.T) {
	for name, q := range map[string]quirks{
		"by folder":                     {folders: true},
		"from the beginning each time":  {deaf: true, page: 2},
		"the same object again forever": {deaf: true, page: 1},
	} {
		s := newFake(t, q).open(t)
		for _, key := range []string{"a/x", "a-b", "c", "d"} {
			if err := s.Put(t.Context(), key, strings.NewReader(""), 0); err != nil {
				t.Fatal(err)
			}
		}
		var last error
		for _, err := range s.List(t.Context(), "", "") {
			last = err
		}
		if last == nil {
			t.Errorf("%s: listed without an error", name)
		}
	}
}

func TestOverTLS(t *testing.T) {
	f := newFake(t, quirks{})
	var versions atomic.Int64 // of HTTP, the highest
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		versions.Store(max(versions.Load(), int64(r.ProtoMajor)))
		f.serve(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", ca)
	s := f.open(t, func(o *s3.Options) { o.Endpoint = server.URL })
	content := strings.Repeat("0123456789abcdef", 1<<20)
	if err := (streams{s}).Put(t.Context(), "a", strings.NewReader(content), -1); err != nil {
		t.Fatal(err)
	}
	if got, err := read(s, 0, -1); got != content || err != nil {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if v := versions.Load(); v != 1 {
		t.Errorf("HTTP/%d, want 1: ranges in parallel would share one connection", v)
	}
}

func TestAFileIsSentFromWhereItIs(t *testing.T) {
	f := newFake(t, quirks{})
	s := f.open(t)
	content := strings.Repeat("0123456789abcdef", 1<<20) // 16 MiB, four pieces
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("head"+content), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Seek(4, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{int64(len(content)) - 1, int64(len(content)) + 4} {
		if err := s.Put(t.Context(), "a", file, size); !errors.Is(err, storage.ErrSize) {
			t.Errorf("Put as %d bytes = %v, want ErrSize", size, err)
		}
	}
	if err := s.Put(t.Context(), "a", file, int64(len(content))); err != nil {
		t.Fatal(err)
	}
	if got, err := read(s, 0, -1); got != content || err != nil {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if n := f.count("PUT part"); n != 4 {
		t.Errorf("%d pieces, want 4", n)
	}
}

func TestEncryptionIsAskedForWhereverAnObjectIsMade(t *testing.T) {
	f := newFake(t, quirks{})
	s := f.open(t, func(o *s3.Options) { o.SSE, o.KMSKey = "aws:kms", "key-1" })
	var asked []string
	f.fail(encryptionSeen(&asked))
	if _, err := s.PutIf(t.Context(), "r", []byte("x"), storage.Absent); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 6 << 20} {
		if err := s.Put(t.Context(), "a", strings.NewReader(strings.Repeat("x", size)), int64(size)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"PUT aws:kms key-1", "PUT aws:kms key-1", "POST upload aws:kms key-1", "PUT part  ", "PUT part  ", "POST upload  "}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestUploadsOfProcessesThatDiedAreAborted(t *testing.T) {
	f := newFake(t, quirks{})
	now := time.Now()
	s := f.open(t, func(o *s3.Options) { o.Now = func() time.Time { return now } })
	f.mu.Lock()
	f.uploads["old"] = &multipart{key: "hosted/a", begun: now.Add(-49 * time.Hour)}
	f.uploads["young"] = &multipart{key: "hosted/a", begun: now.Add(-47 * time.Hour)}
	f.uploads["somebody's"] = &multipart{key: "backups/a", begun: now.Add(-49 * time.Hour)}
	f.mu.Unlock()
	if n, err := s.AbortUploads(t.Context(), "hosted/", 48*time.Hour); n != 1 || err != nil {
		t.Fatalf("aborted %d, %v", n, err)
	}
	if f.uploads["young"] == nil || f.uploads["somebody's"] == nil || len(f.uploads) != 2 {
		t.Errorf("left: %v", f.uploads)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*s3.Options){
		"bucket":     func(o *s3.Options) { o.Bucket = "" },
		"prefix":     func(o *s3.Options) { o.Prefix = "a/" },
		"endpoint":   func(o *s3.Options) { o.Endpoint = "s3.example.org" },
		"endpoint: ": func(o *s3.Options) { o.Endpoint = "http://id:" + secret + "@s3.example.org" },
		"encryption": func(o *s3.Options) { o.SSE = "aes" },
		"KMS key":    func(o *s3.Options) { o.SSE, o.KMSKey = "AES256", "key-1" },
		"timeout":    func(o *s3.Options) { o.Timeout = -1 },
		"piece":      func(o *s3.Options) { o.Piece = 1 },
		"clock":      func(o *s3.Options) { o.Now = nil },
		"spool":      func(o *s3.Options) { o.Spool = filepath.Join(t.TempDir(), "none") },
		"region":     func(o *s3.Options) { o.Endpoint = "" },
	} {
		options := s3.Options{Bucket: bucket, Endpoint: "http://127.0.0.1:1", Spool: t.TempDir(), Now: time.Now}
		change(&options)
		_, err := s3.New(t.Context(), options)
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
