package s3_test

import (
	"context"
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
		got, err := storage.Presign(t.Context(), storage.Under(s, "a"), "b c", 15*time.Minute)
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
			"X-Amz-SignedHeaders": "host", "X-Amz-Expires": "900", "X-Amz-Date": "20260102T030405Z", "X-Amz-Checksum-Mode": "",
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

func TestPresigningAsksTheServerNothing(t *testing.T) {
	f := newFake(t, quirks{})
	s := f.open(t)
	if _, err := storage.Presign(t.Context(), s, "none", time.Minute); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requests) > 0 {
		t.Errorf("asked %v", f.requests)
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
