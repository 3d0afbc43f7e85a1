package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// step is one request of an upload; its path comes from the answer before.
type step struct {
	method, query string
	from, to      int // of the blob
	chunked       bool
	header        []string
	status        int
	want          []string // headers
}

func TestEveryWayToUpload(t *testing.T) {
	const size = 3 << 20
	blob := randomBytes(t, size)
	d256, d512 := "digest="+digest.FromBytes(blob).String(), "digest="+strings.Replace(digest.SHA512.FromBytes(blob).String(), ":", "%3A", 1)
	whole := fmt.Sprintf("0-%d", size-1)
	third := func(n int, spelling string) []string {
		return []string{"Content-Range", fmt.Sprintf(spelling, n<<20, (n+1)<<20-1)}
	}
	start := step{method: "POST", status: 202, want: []string{"Range", "0-0", "Oci-Chunk-Min-Length", "1048576", "Content-Length", "0"}}
	end := step{method: "PUT", query: d256, status: 201}
	for fact, steps := range map[string][]step{
		"one request":           {{method: "POST", query: d256, to: size, status: 201}},
		"one request in chunks": {{method: "POST", query: d256, to: size, chunked: true, status: 201}},
		"one request by sha512": {{method: "POST", query: d512, to: size, status: 201}},
		"then a PUT":            {start, {method: "PUT", query: d256, to: size, status: 201}},
		"then a PUT in chunks":  {start, {method: "PUT", query: d256, to: size, chunked: true, status: 201}},
		"as docker does":        {start, {method: "PATCH", to: size, chunked: true, status: 202, want: []string{"Range", whole}}, end},
		"as podman does":        {start, {method: "PATCH", to: size, status: 202, want: []string{"Range", whole}}, end},
		"ranges": {
			start,
			{method: "PATCH", to: 1 << 20, header: third(0, "%d-%d"), status: 202, want: []string{"Range", "0-1048575"}},
			{method: "PATCH", from: 1 << 20, to: 2 << 20, header: third(1, "%d-%d"), status: 202, want: []string{"Range", "0-2097151"}},
			{method: "PATCH", from: 2 << 20, to: size, header: third(2, "%d-%d"), status: 202, want: []string{"Range", whole}},
			end,
		},
		"ranges as HTTP writes them": {
			start,
			{method: "PATCH", to: 1 << 20, header: third(0, "bytes %d-%d/*"), status: 202},
			{method: "PATCH", from: 1 << 20, to: 2 << 20, chunked: true, header: third(1, "bytes %d-%d/3145728"), status: 202},
			{method: "PUT", query: d256, from: 2 << 20, to: size, header: third(2, "%d-%d"), status: 201},
		},
		"the last bytes without a range": {
			start,
			{method: "PATCH", to: 2 << 20, status: 202},
			{method: "PUT", query: d256, from: 2 << 20, to: size, status: 201},
		},
		"announced as sha512": {
			{method: "POST", query: "digest-algorithm=sha512", status: 202},
			{method: "PATCH", to: size, status: 202},
			{method: "PUT", query: d512, status: 201},
		},
		"sha512 without an announcement": {start, {method: "PATCH", to: size, status: 202}, {method: "PUT", query: d512, status: 201}},
		"after a chunk out of order": {
			start,
			{method: "PATCH", from: 1 << 20, to: 2 << 20, header: third(1, "%d-%d"), status: 416, want: []string{"Range", "0-0", "Content-Range", ""}},
			{method: "PATCH", to: 1 << 20, header: third(0, "%d-%d"), status: 202},
			{method: "PATCH", to: 1 << 20, header: third(0, "%d-%d"), status: 416, want: []string{"Range", "0-1048575"}},
			{method: "PUT", query: d256, from: 2 << 20, to: size, header: third(2, "%d-%d"), status: 416, want: []string{"Range", "0-1048575"}},
			{method: "GET", status: 204, want: []string{"Range", "0-1048575"}},
			{method: "HEAD", status: 204, want: []string{"Range", "0-1048575"}},
			{method: "PUT", query: d256, from: 1 << 20, to: size, status: 201},
		},
		"after a wrong digest": {
			start,
			{method: "PATCH", to: size, status: 202},
			{method: "PUT", query: "digest=" + sha256, status: 400},
			end,
		},
	} {
		for name, store := range stores(t) {
			t.Run(fact+" over "+name, func(t *testing.T) {
				s := startOver(t, store, nil)
				upload(t, s, blob, steps)
			})
		}
	}
}

// upload takes the steps, and asks for the blob afterwards.
func upload(t *testing.T, s *running, blob []byte, steps []step) {
	t.Helper()
	location := "/v2/team/img/blobs/uploads/"
	for i, step := range steps {
		path := location
		if step.query != "" {
			path += "?" + step.query
		}
		var body io.Reader = bytes.NewReader(blob[step.from:step.to])
		if step.chunked {
			body = inChunks{body}
		}
		header := s.expect(t, step.status, step.method, path, body, step.header...)
		for j := 0; j < len(step.want); j += 2 {
			if got := header.Get(step.want[j]); got != step.want[j+1] {
				t.Errorf("step %d: %s: got %q, want %q", i, step.want[j], got, step.want[j+1])
			}
		}
		if step.status == 400 {
			continue
		}
		location = header.Get("Location")
		id := location[strings.LastIndexByte(location, '/')+1:]
		if uuid := header.Get("Docker-Upload-Uuid"); step.status != 201 && uuid != id {
			t.Errorf("step %d: location %q and id %q", i, location, uuid)
		}
	}
	want := "/v2/team/img/blobs/" + strings.Replace(strings.TrimPrefix(steps[len(steps)-1].query, "digest="), "%3A", ":", 1)
	if location != want {
		t.Errorf("it is said to be at %q, want %q", location, want)
	}
	res, got := s.do(t, "GET", location)
	if res.StatusCode != 200 || got != string(blob) {
		t.Errorf("got %d with %d bytes", res.StatusCode, len(got))
	}
}

func TestAnEmptyBlob(t *testing.T) {
	s := startPush(t, nil)
	d := digest.FromBytes(nil).String()
	s.expect(t, 201, "POST", "/v2/team/a/blobs/uploads/?digest="+d, nil)
	s.expect(t, 201, "PUT", s.begin(t, "team/b")+"?digest="+d, nil)
	for _, repo := range []string{"team/a", "team/b"} {
		if res, body := s.do(t, "GET", "/v2/"+repo+"/blobs/"+d); res.StatusCode != 200 || body != "" || res.ContentLength != 0 {
			t.Errorf("%s: got %d %q", repo, res.StatusCode, body)
		}
	}
}

func TestUploadRefusals(t *testing.T) {
	s := startPush(t, nil)
	const up = "/v2/team/img/blobs/uploads/"
	id := s.begin(t, "team/img")
	s.expect(t, 202, "PATCH", id, strings.NewReader("12345"))
	for _, c := range []struct {
		fact, method, path, body string
		ask                      []string
		status                   int
		code                     Code
	}{
		{"single, malformed digest", "POST", up + "?digest=sha256:short", "x", nil, 400, CodeDigestInvalid},
		{"single, unknown algorithm", "POST", up + "?digest=md5:" + hex256, "x", nil, 400, CodeDigestInvalid},
		{"single, wrong digest", "POST", up + "?digest=" + sha256, "x", nil, 400, CodeDigestInvalid},
		{"single, wrong sha512", "POST", up + "?digest=" + sha512, "x", nil, 400, CodeDigestInvalid},
		{"an algorithm that is not served", "POST", up + "?digest-algorithm=md5", "", nil, 400, CodeDigestInvalid},
		{"an empty algorithm", "POST", up + "?digest-algorithm=", "", nil, 400, CodeDigestInvalid},
		{"mount, malformed digest", "POST", up + "?mount=sha256:x&from=team/a", "", nil, 400, CodeDigestInvalid},
		{"mount, malformed name", "POST", up + "?mount=" + sha256 + "&from=Team/../x", "", nil, 400, CodeNameInvalid},
		{"end without a digest", "PUT", id, "", nil, 400, CodeDigestInvalid},
		{"end, malformed digest", "PUT", id + "?digest=sha256:../../x", "", nil, 400, CodeDigestInvalid},
		{"end, wrong digest", "PUT", id + "?digest=" + sha256, "6", nil, 400, CodeDigestInvalid},
		{"end without the last bytes", "PUT", id + "?digest=" + digest.FromString("123456").String(), "", nil, 400, CodeDigestInvalid},
		{"a range that is none", "PATCH", id, "6", []string{"Content-Range", "five-five"}, 400, CodeBlobUploadInvalid},
		{"a range that ends before it starts", "PATCH", id, "6", []string{"Content-Range", "5-4"}, 400, CodeBlobUploadInvalid},
		{"a range with a sign", "PATCH", id, "6", []string{"Content-Range", "+5-5"}, 400, CodeBlobUploadInvalid},
		{"a range of another length", "PATCH", id, "6", []string{"Content-Range", "5-6"}, 400, CodeSizeInvalid},
		{"a range beyond every length", "PATCH", id, "6", []string{"Content-Range", "5-99999999999999999999"}, 400, CodeBlobUploadInvalid},
		{"a range after the end", "PATCH", id, "6", []string{"Content-Range", "6-6"}, 416, CodeBlobUploadInvalid},
		{"a range before the end", "PUT", id + "?digest=" + sha256, "6", []string{"Content-Range", "4-4"}, 416, CodeBlobUploadInvalid},
		{"an upload that is not there", "PATCH", up + "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "x", nil, 404, CodeBlobUploadUnknown},
		{"status of one that is not there", "GET", up + "nope", "", nil, 404, CodeBlobUploadUnknown},
		{"end of one that is not there", "PUT", up + "nope?digest=" + sha256, "", nil, 404, CodeBlobUploadUnknown},
		{"cancelling one that is not there", "DELETE", up + "nope", "", nil, 404, CodeBlobUploadUnknown},
		{"an upload to another repository", "PATCH", strings.Replace(id, "team/img", "team/other", 1), "x", nil, 404, CodeBlobUploadUnknown},
		{"an id that is a path", "PATCH", up + "..", "x", nil, 404, CodeBlobUploadUnknown},
		{"an id with other characters", "GET", up + "a_b", "", nil, 404, CodeBlobUploadUnknown},
		{"an id that is too long", "GET", up + strings.Repeat("a", 129), "", nil, 404, CodeBlobUploadUnknown},
		{"starting one that is named", "POST", id, "", nil, 405, CodeUnsupported},
		{"going on with none", "PATCH", up, "x", nil, 405, CodeUnsupported},
		{"reading none", "GET", up, "", nil, 405, CodeUnsupported},
	} {
		var body io.Reader
		if c.body != "" {
			body = strings.NewReader(c.body)
		}
		res, got := s.send(t, c.method, c.path, body, c.ask...)
		if code, _ := refusal(got); res.StatusCode != c.status || code != string(c.code) {
			t.Errorf("%s: got %d %s", c.fact, res.StatusCode, got)
		}
	}
	res, got := s.send(t, "PATCH", id, inChunks{strings.NewReader("678")}, "Content-Range", "5-6")
	if code, _ := refusal(got); res.StatusCode != 400 || code != string(CodeSizeInvalid) {
		t.Errorf("more bytes than its range: got %d %s", res.StatusCode, got)
	}
	res, got = s.send(t, "PATCH", id, inChunks{strings.NewReader("6")}, "Content-Range", "5-6")
	if code, _ := refusal(got); res.StatusCode != 400 || code != string(CodeSizeInvalid) {
		t.Errorf("fewer bytes than its range: got %d %s", res.StatusCode, got)
	}
	if got := s.expect(t, 204, "GET", id, nil).Get("Range"); got != "0-4" {
		t.Errorf("after all of that the upload ends at %s", got)
	}
}

func TestUploadIsCancelled(t *testing.T) {
	s := startPush(t, nil)
	id := s.begin(t, "team/img")
	s.expect(t, 202, "PATCH", id, strings.NewReader("12345"))
	s.expect(t, 204, "DELETE", id, nil)
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		s.expect(t, 404, method, id, nil)
	}
}

func TestUploadOutlivesTheServer(t *testing.T) {
	for name, store := range stores(t) {
		first := startOver(t, store, nil)
		id := first.begin(t, "team/img")
		first.expect(t, 202, "PATCH", id, strings.NewReader("123"))
		if err := first.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		second := startOver(t, store, nil)
		if got := second.expect(t, 204, "GET", id, nil).Get("Range"); got != "0-2" {
			t.Errorf("%s: goes on after %s", name, got)
		}
		second.expect(t, 201, "PUT", id+"?digest="+digest.FromString("12345").String(), strings.NewReader("45"), "Content-Range", "3-4")
	}
}

func TestLocationsKeepTheNamespace(t *testing.T) {
	s := startPush(t, nil)
	header := s.expect(t, 202, "POST", "/v2/team/img/blobs/uploads/?ns=docker.io", nil)
	location := header.Get("Location")
	if !strings.HasSuffix(location, "?ns=docker.io") || header.Get("Oci-Namespace") != "docker.io" {
		t.Errorf("got %v", header)
	}
	d := digest.FromString("x").String()
	blob := s.expect(t, 201, "PUT", location+"&digest="+d, strings.NewReader("x")).Get("Location")
	if blob != "/v2/team/img/blobs/"+d+"?ns=docker.io" {
		t.Errorf("got %q", blob)
	}
	s.expect(t, 200, "GET", blob, nil)
}

func TestRacingChunks(t *testing.T) {
	s := startPush(t, nil)
	id := s.begin(t, "team/img")
	status := make(chan int)
	for range 8 {
		go func() { // ends with its request
			res, _, err := s.try("PATCH", id, strings.NewReader("12345"), "Content-Range", "0-4")
			if err != nil {
				res = &http.Response{}
			}
			status <- res.StatusCode
		}()
	}
	count := map[int]int{}
	for range 8 {
		count[<-status]++
	}
	if count[202] != 1 || count[416] != 7 {
		t.Errorf("got %v", count)
	}
}
