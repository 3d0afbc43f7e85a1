package s3_test

import (
	"cmp"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage/s3"
)

const bucket = "warehouse"

// secret is the key that requests are signed with. It may be in nothing that the store says.
const secret = "wJalrXUtnFEMI-not-in-any-error"

// fake is an S3 server in memory with one bucket. Its faults are its user's, by fault.
type fake struct {
	url    string
	quirks quirks

	mu       sync.Mutex
	fault    func(w http.ResponseWriter, r *http.Request, serve func(w http.ResponseWriter)) // in place of an answer
	objects  map[string]*object
	uploads  map[string]*multipart
	requests []string // method and operation of each
}

// quirks are what some servers do.
type quirks struct {
	unconditional bool // takes every write, whatever its condition
	rangeless     bool // answers a range with the whole object
	plainKeys     bool // lists keys as they are, also when asked to encode them
	forgetful     bool // keeps sizes and digests of parts, not their bytes
	page          int  // objects of a listing; 0 is 1000
	folders       bool // lists by folder, as a walk over a file system does
	deaf          bool // ignores where a listing is to start
}

type object struct {
	data     []byte
	size     int
	etag     string
	modified time.Time
	nonce    string // metadata
}

type multipart struct {
	key   string
	nonce string
	begun time.Time
	parts map[int]*object
}

func newFake(t testing.TB, q quirks) *fake {
	f := &fake{quirks: q, objects: make(map[string]*object), uploads: make(map[string]*multipart)}
	server := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// open makes a store in the fake's bucket.
func (f *fake) open(t testing.TB, change ...func(*s3.Options)) *s3.Store {
	t.Helper()
	options := s3.Options{Bucket: bucket, Endpoint: f.url, PathStyle: true, Piece: 5 << 20, Spool: t.TempDir(), Now: time.Now}
	for _, change := range change {
		change(&options)
	}
	s, err := s3.New(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // idle connections, before the server waits for them
	return s
}

// fail lets f decide about each request from then on.
func (f *fake) fail(fault func(w http.ResponseWriter, r *http.Request, serve func(w http.ResponseWriter))) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// count is how many requests of a kind there were: "PUT part" for instance.
func (f *fake) count(kind string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if r == kind {
			n++
		}
	}
	return n
}

// left is how many objects and how many uploads there are.
func (f *fake) left() (objects, uploads int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.objects), len(f.uploads)
}

func kind(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("partNumber"):
		return r.Method + " part"
	case q.Has("uploads") || q.Has("uploadId"):
		return r.Method + " upload"
	case q.Has("list-type"):
		return r.Method + " list"
	}
	return r.Method
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, kind(r))
	fault := f.fault
	f.mu.Unlock()
	serve := func(w http.ResponseWriter) { f.answer(w, r) }
	if fault == nil {
		serve(w)
		return
	}
	fault(w, r, serve)
}

func (f *fake) answer(w http.ResponseWriter, r *http.Request) {
	found, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	body, err := f.body(r)
	f.mu.Lock()
	there := f.objects[key]
	f.mu.Unlock()
	switch {
	case err != nil:
		refuse(w, 400, err.Error())
	case !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") && !presigned(r):
		refuse(w, 403, "AccessDenied")
	case found != bucket:
		refuse(w, 404, "NoSuchBucket")
	case kind(r) == "GET" || kind(r) == "HEAD":
		f.get(w, r, there) // without the lock: a client may read slowly
	default:
		f.change(w, r, key, body)
	}
}

func (f *fake) change(w http.ResponseWriter, r *http.Request, key string, body *object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch kind(r) {
	case "GET list":
		f.list(w, r.URL.Query())
	case "PUT":
		f.put(w, r, key, body)
	case "DELETE":
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		f.multipart(w, r, key, body)
	}
}

// presigned: the query signs the request, and no header of the client's.
func presigned(r *http.Request) bool {
	q := r.URL.Query()
	return r.Method == http.MethodGet && r.Header.Get("Authorization") == "" && q.Get("X-Amz-SignedHeaders") == "host" && q.Has("X-Amz-Signature")
}

// body reads a request's body and compares its digest with the one that was signed.
func (f *fake) body(r *http.Request) (*object, error) {
	sum, tag := sha256.New(), md5.New()
	var kept strings.Builder
	to := []io.Writer{sum, tag}
	if !f.quirks.forgetful || !r.URL.Query().Has("partNumber") {
		to = append(to, &kept)
	}
	n, err := io.Copy(io.MultiWriter(to...), r.Body)
	if err != nil || n != r.ContentLength {
		return nil, fmt.Errorf("IncompleteBody")
	}
	signed := r.Header.Get("X-Amz-Content-Sha256")
	if whole := hex.EncodeToString(sum.Sum(nil)); signed != whole && !presigned(r) && (r.TLS == nil || signed != "UNSIGNED-PAYLOAD") {
		return nil, fmt.Errorf("XAmzContentSHA256Mismatch")
	}
	return &object{
		data: []byte(kept.String()), size: int(n), etag: `"` + hex.EncodeToString(tag.Sum(nil)) + `"`,
		modified: time.Now(), nonce: r.Header.Get("X-Amz-Meta-Entrepot-Upload"),
	}, nil
}

func (f *fake) put(w http.ResponseWriter, r *http.Request, key string, body *object) {
	there, match := f.objects[key], r.Header.Get("If-Match")
	switch {
	case f.quirks.unconditional:
	case match != "" && there == nil:
		refuse(w, 404, "NoSuchKey")
		return
	case match != "" && there.etag != match, r.Header.Get("If-None-Match") == "*" && there != nil:
		refuse(w, 412, "PreconditionFailed")
		return
	}
	f.objects[key] = body
	w.Header().Set("ETag", body.etag)
}

func (f *fake) get(w http.ResponseWriter, r *http.Request, o *object) {
	if o == nil {
		refuse(w, 404, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", o.etag)
	if o.nonce != "" {
		w.Header().Set("X-Amz-Meta-Entrepot-Upload", o.nonce)
	}
	if f.quirks.rangeless {
		r.Header.Del("Range")
	}
	if asked := r.Header.Get("Range"); asked != "" && len(o.data) == 0 { // http.ServeContent gives an empty 200
		refuse(w, 416, "InvalidRange")
		return
	}
	http.ServeContent(w, r, "", o.modified, strings.NewReader(string(o.data)))
}

func (f *fake) multipart(w http.ResponseWriter, r *http.Request, key string, body *object) {
	id := r.URL.Query().Get("uploadId")
	u := f.uploads[id]
	switch {
	case r.Method == http.MethodGet:
		f.listUploads(w, r.URL.Query().Get("prefix"))
	case r.URL.Query().Has("uploads"):
		id = fmt.Sprintf("upload-%d", len(f.requests))
		f.uploads[id] = &multipart{key, body.nonce, body.modified, make(map[int]*object)}
		answerXML(w, struct {
			XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
			Bucket, Key, UploadId string
		}{Bucket: bucket, Key: key, UploadId: id})
	case u == nil || u.key != key:
		refuse(w, 404, "NoSuchUpload")
	case r.Method == http.MethodPut:
		number, _ := strconv.Atoi(r.URL.Query().Get("partNumber"))
		u.parts[number] = body
		w.Header().Set("ETag", body.etag)
	case r.Method == http.MethodDelete:
		delete(f.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	default:
		f.complete(w, id, u, body.data)
	}
}

func (f *fake) complete(w http.ResponseWriter, id string, u *multipart, list []byte) {
	var named struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	err := xml.Unmarshal(list, &named)
	whole := &object{modified: time.Now(), nonce: u.nonce, etag: `"` + id + `-1"`}
	for i, p := range named.Part {
		part := u.parts[p.PartNumber]
		if part == nil || part.etag != p.ETag || p.PartNumber != i+1 || i < len(named.Part)-1 && part.size < 5<<20 {
			refuse(w, 400, "InvalidPart")
			return
		}
		whole.data, whole.size = append(whole.data, part.data...), whole.size+part.size
	}
	if err != nil || len(named.Part) == 0 {
		refuse(w, 400, "MalformedXML")
		return
	}
	f.objects[u.key] = whole
	delete(f.uploads, id)
	answerXML(w, struct {
		XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
		ETag    string
	}{ETag: whole.etag})
}

type listed struct {
	Key          string
	Size         int
	ETag         string
	LastModified string
}

func (f *fake) list(w http.ResponseWriter, q url.Values) {
	out := struct {
		XMLName      xml.Name `xml:"ListBucketResult"`
		EncodingType string   `xml:",omitempty"`
		IsTruncated  bool
		Contents     []listed
	}{}
	if !f.quirks.plainKeys {
		out.EncodingType = q.Get("encoding-type")
	}
	keys := slices.Sorted(maps.Keys(f.objects))
	if f.quirks.folders {
		slices.SortFunc(keys, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, q.Get("prefix")) || key <= q.Get("start-after") && !f.quirks.deaf {
			continue
		}
		if out.IsTruncated = len(out.Contents) == cmp.Or(f.quirks.page, 1000); out.IsTruncated {
			break
		}
		o := f.objects[key]
		if out.EncodingType == "url" {
			key = strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
		}
		out.Contents = append(out.Contents, listed{key, o.size, o.etag, o.modified.UTC().Format("2006-01-02T15:04:05.000Z")})
	}
	answerXML(w, out)
}

func (f *fake) listUploads(w http.ResponseWriter, prefix string) {
	type one struct{ Key, UploadId, Initiated string }
	out := struct {
		XMLName xml.Name `xml:"ListMultipartUploadsResult"`
		Upload  []one
	}{}
	for id, u := range f.uploads {
		if strings.HasPrefix(u.key, prefix) {
			out.Upload = append(out.Upload, one{u.key, id, u.begun.UTC().Format(time.RFC3339)})
		}
	}
	answerXML(w, out)
}

func answerXML(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(v) // the client is gone
}

// refuse answers with an error. A HEAD has none but its status, as net/http sees to.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Amz-Request-Id", "request-1")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>what the server says</Message></Error>", code)
}
