package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
)

// fakeS3 answers for one bucket, whose objects are in memory: as much of S3 as small pushes take.
type fakeS3 struct {
	*httptest.Server
	objects *mem.Store

	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request) (answered bool)
}

func newFakeS3(t *testing.T) *fakeS3 {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "s3cr3t",
		"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	f := &fakeS3{objects: mem.New(time.Now)}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// environment is what a server needs to use it.
func (f *fakeS3) environment() []string {
	return []string{"S3_BUCKET=warehouse", "S3_PREFIX=entrepot/one", "S3_ENDPOINT=" + f.URL, "S3_PATH_STYLE=true"}
}

// fails replaces answers. nil is none.
func (f *fakeS3) fails(fault func(w http.ResponseWriter, r *http.Request) (answered bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func overloaded(w http.ResponseWriter, _ *http.Request) bool {
	w.WriteHeader(http.StatusServiceUnavailable)
	return true
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	fault := f.fault
	f.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	key, ok := strings.CutPrefix(r.URL.Path, "/warehouse/")
	if !ok || key == "" {
		f.list(w, r)
		return
	}
	switch r.Method {
	case http.MethodPut:
		f.put(w, r, key)
	case http.MethodDelete:
		_ = f.objects.Delete(r.Context(), key)
		w.WriteHeader(http.StatusNoContent)
	default:
		f.get(w, r, key)
	}
}

func (f *fakeS3) put(w http.ResponseWriter, r *http.Request, key string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	was := storage.Version(strings.Trim(r.Header.Get("If-Match"), `"`))
	if was == storage.Absent && r.Header.Get("If-None-Match") == "" {
		_ = f.objects.Put(r.Context(), key, strings.NewReader(string(body)), int64(len(body)))
		w.Header().Set("ETag", fmt.Sprintf("%q", storage.ContentVersion(body)))
		return
	}
	version, err := f.objects.PutIf(r.Context(), key, body, was)
	if err != nil {
		refuseS3(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	w.Header().Set("ETag", fmt.Sprintf("%q", version))
}

func (f *fakeS3) get(w http.ResponseWriter, r *http.Request, key string) {
	content, version, err := f.objects.Get(r.Context(), key)
	if errors.Is(err, storage.ErrNotFound) {
		refuseS3(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	info, _ := f.objects.Stat(r.Context(), key)
	w.Header().Set("ETag", fmt.Sprintf("%q", version))
	http.ServeContent(w, r, "", info.Modified, strings.NewReader(string(content)))
}

func (f *fakeS3) list(w http.ResponseWriter, r *http.Request) {
	type object struct {
		Key          string
		Size         int64
		LastModified time.Time
	}
	listing := struct {
		XMLName      xml.Name `xml:"ListBucketResult"`
		EncodingType string
		Contents     []object
	}{EncodingType: "url"}
	for info, err := range f.objects.List(r.Context(), r.FormValue("prefix"), r.FormValue("start-after")) {
		if err != nil {
			refuseS3(w, http.StatusBadRequest, "InvalidArgument")
			return
		}
		listing.Contents = append(listing.Contents, object{url.QueryEscape(info.Key), info.Size, info.Modified})
	}
	_ = xml.NewEncoder(w).Encode(listing)
}

func refuseS3(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
}
