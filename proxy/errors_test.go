package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/hosted"
)

func TestAsRegistryError(t *testing.T) {
	outage := func(c cache.Cause, after time.Duration) error {
		return &cache.UnavailableError{Upstream: "docker.io", Cause: c, RetryAfter: after, Err: errors.New("secret detail")}
	}
	for _, c := range []struct {
		fact   string
		err    error
		code   Code
		status int
		after  time.Duration
	}{
		{"not found", cache.ErrNotFound, CodeBlobUnknown, 404, 0},
		{"refused", cache.ErrDenied, CodeDenied, 403, 0},
		{"rate limited", outage(cache.CauseLimited, time.Minute), CodeUnavailable, 503, time.Minute},
		{"breaker open", outage(cache.CauseOpen, 0), CodeUnavailable, 503, time.Second},
		{"our credential refused", outage(cache.CauseCredential, 0), CodeUnavailable, 503, time.Second},
		{"no answer", outage(cache.CauseTimeout, 0), CodeUnavailable, 504, time.Second},
		{"broken answer", outage(cache.CauseFailed, 0), CodeUnavailable, 502, time.Second},
		{"wrong bytes", cache.ErrCorrupt, CodeUnknown, 502, 0},
		{"no such range", &cache.RangeError{Digest: sha256, Size: 7}, CodeRangeInvalid, 416, 0},
		{"shutdown", context.Canceled, CodeUnavailable, 503, time.Second},
		{"deadline", context.DeadlineExceeded, CodeUnavailable, 504, 0},
		{"anything else", errors.New("disk on fire, secret detail"), CodeUnknown, 500, 0},
		{"unknown repository", hosted.ErrNameUnknown, CodeNameUnknown, 404, 0},
		{"unknown manifest", hosted.ErrManifestUnknown, CodeManifestUnknown, 404, 0},
		{"unknown hosted blob", hosted.ErrBlobUnknown, CodeBlobUnknown, 404, 0},
		{"unknown upload", hosted.ErrUploadUnknown, CodeBlobUploadUnknown, 404, 0},
		{"another digest", hosted.ErrDigestMismatch, CodeDigestInvalid, 400, 0},
		{"another length", storage.ErrSize, CodeSizeInvalid, 400, 0},
		{"out of order", &hosted.OffsetError{End: 7}, CodeBlobUploadInvalid, 416, 0},
		{"too many chunks", hosted.ErrTooManyChunks, CodeBlobUploadInvalid, 413, 0},
		{"invalid manifest", &hosted.InvalidManifestError{Reason: "why"}, CodeManifestInvalid, 400, 0},
		{"missing blob", &hosted.MissingBlobError{Digest: sha256}, CodeManifestBlobUnknown, 404, 0},
		{"too many writers", hosted.ErrConflict, CodeUnavailable, 503, time.Second},
		{"a store that does not answer", storage.ErrUnavailable, CodeUnavailable, 503, 5 * time.Second},
		{"a store that does not answer in time", fmt.Errorf("%w: %w", storage.ErrUnavailable, context.DeadlineExceeded), CodeUnavailable, 503, 5 * time.Second},
		{"no space", storage.ErrNoSpace, CodeUnavailable, 507, 0},
		{"a handler's own", newError(CodePaginationNumber, "n"), CodePaginationNumber, 400, 0},
	} {
		got := AsRegistryError(fmt.Errorf("open blob: %w", c.err), CodeBlobUnknown, "docker.io")
		if got.Code != c.code || got.status() != c.status || got.RetryAfter != c.after {
			t.Errorf("%s: got %s %d %v", c.fact, got.Code, got.status(), got.RetryAfter)
		}
		if strings.Contains(got.Message, "secret") {
			t.Errorf("%s: message tells %q", c.fact, got.Message)
		}
	}
}
