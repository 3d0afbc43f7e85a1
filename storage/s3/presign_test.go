package s3_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/s3"
)

func TestAURLNamesTheObjectItsTimeAndNothingThatAClientHasToSend(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		change func(*s3.Options)
		want   string // up to the query
	}{
		"path style":      {func(o *s3.Options) { o.PathStyle = true }, "https://s3.example:9000/warehouse/one/a/b%20c"},
		"host style":      {func(o *s3.Options) { o.PathStyle = false }, "https://warehouse.s3.example:9000/one/a/b%20c"},
		"AWS":             {func(o *s3.Options) { o.PathStyle, o.Endpoint, o.Region = false, "", "eu-west-1" }, "https://warehouse.s3.eu-west-1.amazonaws.com/one/a/b%20c"},
		"encryption":      {func(o *s3.Options) { o.SSE = "AES256" }, "https://s3.example:9000/warehouse/one/a/b%20c"},
		"a key of KMS":    {func(o *s3.Options) { o.SSE, o.KMSKey = "aws:kms", "key-1" }, "https://s3.example:9000/warehouse/one/a/b%20c"},
		"below some path": {func(o *s3.Options) { o.Endpoint = "http://proxy.example/s3" }, "http://proxy.example/s3/warehouse/one/a/b%20c"},
	} {
		options := s3.Options{Bucket: bucket, Prefix: "one", Endpoint: "https://s3.example:9000", PathStyle: true, Spool: t.TempDir(), Now: func() time.Time { return now }}
		c.change(&options)
		s, err := s3.New(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		got, err := storage.Presign(t.Context(), storage.Under(s, "a"), "b c", 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		at, query, _ := strings.Cut(got, "?")
		if at != c.want {
			t.Errorf("%s: %s, want %s", name, at, c.want)
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		for parameter, want := range map[string]string{
			"X-Amz-SignedHeaders": "host", "X-Amz-Expires": "600", "X-Amz-Date": "20260102T030405Z", "X-Amz-Checksum-Mode": "",
			"X-Amz-Security-Token": "", "X-Amz-Server-Side-Encryption": "",
		} {
			if got := values.Get(parameter); got != want {
				t.Errorf("%s: %s is %q, want %q", name, parameter, got, want)
			}
		}
		if strings.Contains(got, secret) || len(values.Get("X-Amz-Signature")) != 64 {
			t.Errorf("%s: the query is %d bytes, with signature %q", name, len(query), values.Get("X-Amz-Signature"))
		}
	}
}

func TestAURLIsFollowedWithoutACredential(t *testing.T) {
	f := newFake(t, quirks{})
	s := f.open(t, func(o *s3.Options) { o.SSE = "AES256" })
	given, err := storage.Presign(t.Context(), s, "a b", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if requests := len(f.requests); requests > 0 {
		t.Errorf("%d requests for it", requests)
	}
	if err := s.Put(t.Context(), "a b", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	for ranged, want := range map[string]string{"": "0123456789", "bytes=2-5": "2345"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, given, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Range", ranged)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(got) != want {
			t.Errorf("%q: %d %q, %v", ranged, response.StatusCode, got, err)
		}
	}
}

func TestAURLOfTemporaryCredentialsBringsTheirToken(t *testing.T) {
	t.Setenv("AWS_SESSION_TOKEN", "for-a-while")
	got, err := newFake(t, quirks{}).open(t).Presign(t.Context(), "a", time.Minute)
	if err != nil || !strings.Contains(got, "X-Amz-Security-Token=for-a-while") || !strings.Contains(got, "X-Amz-SignedHeaders=host&") {
		t.Errorf("%s %v", got, err)
	}
}

func (s streams) Presign(ctx context.Context, key string, life time.Duration) (string, error) {
	return storage.Presign(ctx, s.Store, key, life)
}

func TestNoURLWithoutCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	got, err := newFake(t, quirks{}).open(t).Presign(t.Context(), "a", time.Minute)
	if got != "" || err == nil || strings.Contains(err.Error(), "X-Amz") {
		t.Errorf("%s %v", got, err)
	}
}
