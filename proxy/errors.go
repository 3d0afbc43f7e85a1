package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy/access"
	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/hosted"
	"github.com/opencontainers/go-digest"
)

// Code is an error code of the distribution specification, or one of the few beside it that clients know.
type Code string

const (
	CodeBlobUnknown         Code = "BLOB_UNKNOWN"
	CodeBlobUploadInvalid   Code = "BLOB_UPLOAD_INVALID"
	CodeBlobUploadUnknown   Code = "BLOB_UPLOAD_UNKNOWN"
	CodeDenied              Code = "DENIED"
	CodeDigestInvalid       Code = "DIGEST_INVALID"
	CodeManifestBlobUnknown Code = "MANIFEST_BLOB_UNKNOWN"
	CodeManifestInvalid     Code = "MANIFEST_INVALID"
	CodeManifestUnknown     Code = "MANIFEST_UNKNOWN"
	CodeNameInvalid         Code = "NAME_INVALID"
	CodeNameUnknown         Code = "NAME_UNKNOWN"
	CodePaginationNumber    Code = "PAGINATION_NUMBER_INVALID"
	CodeRangeInvalid        Code = "RANGE_INVALID"
	CodeSizeInvalid         Code = "SIZE_INVALID"
	CodeTooManyRequests     Code = "TOOMANYREQUESTS"
	CodeUnauthorized        Code = "UNAUTHORIZED"
	CodeUnavailable         Code = "UNAVAILABLE"
	CodeUnknown             Code = "UNKNOWN"
	CodeUnsupported         Code = "UNSUPPORTED"
)

// status is the status of a code where the error names none of its own.
func (c Code) status() int {
	switch c {
	case CodeBlobUnknown, CodeBlobUploadUnknown, CodeManifestBlobUnknown, CodeManifestUnknown, CodeNameUnknown:
		return http.StatusNotFound
	case CodeDenied:
		return http.StatusForbidden
	case CodeUnauthorized:
		return http.StatusUnauthorized
	case CodeTooManyRequests:
		return http.StatusTooManyRequests
	case CodeBlobUploadInvalid, CodeDigestInvalid, CodeManifestInvalid, CodeNameInvalid, CodePaginationNumber, CodeSizeInvalid:
		return http.StatusBadRequest
	case CodeRangeInvalid:
		return http.StatusRequestedRangeNotSatisfiable
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	case CodeUnsupported:
		return http.StatusMethodNotAllowed
	}
	return http.StatusInternalServerError
}

// Error is an answer that is not the one asked for. Its message is for whoever reads a client's output.
type Error struct {
	Code       Code
	Status     int // 0: that of the code
	Message    string
	RetryAfter time.Duration // 0: no header
	Allow      string        // of a 405; it may be empty
	Size       int64         // of a 416: the size of the whole blob; negative where no range of a blob was asked for
	Challenge  string        // of a 401: what is wrong with the credential, by RFC 6750; empty where there is none
	Err        error         // for the log only
}

func newError(c Code, message string) *Error { return &Error{Code: c, Message: message} }

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) status() int {
	if e.Status != 0 {
		return e.Status
	}
	return e.Code.status()
}

// leastRetry is the Retry-After of an outage that names none. Zero would make clients ask again at once.
const leastRetry = time.Second

// storeRetry is the Retry-After while the store of hosted repositories does not answer.
const storeRetry = 5 * time.Second

// AsRegistryError says what an error of the cache, of hosted repositories or of a handler is to a client. missing is the code
// of a 404 on this route, registry the upstream asked. An upstream's own message never passes: it may name hosts and realms
// that are nobody's business.
func AsRegistryError(err error, missing Code, registry string) *Error {
	var answer *Error
	var outage *cache.UnavailableError
	var refusal *access.Refusal
	var scope *access.ScopeError
	var unsatisfiable *cache.RangeError
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &refusal):
		return asRefusal(refusal)
	case errors.Is(err, access.ErrNoKeys):
		return &Error{Code: CodeUnavailable, Message: "this server cannot make tokens yet", RetryAfter: leastRetry, Err: err}
	case errors.As(err, &scope):
		return &Error{Code: CodeUnsupported, Status: http.StatusBadRequest, Message: scope.Error(), Err: err}
	case errors.As(err, &unsatisfiable):
		return &Error{Code: CodeRangeInvalid, Message: unsatisfiable.Error(), Size: unsatisfiable.Size, Err: err}
	case errors.As(err, &outage):
		return asOutage(outage, err)
	case errors.Is(err, cache.ErrNotFound):
		return &Error{Code: missing, Message: "not found at " + registry, Err: err}
	case errors.Is(err, cache.ErrDenied):
		return &Error{Code: CodeDenied, Message: registry + " refuses this to the cache's credential, or without one", Err: err}
	case errors.Is(err, cache.ErrCorrupt):
		return &Error{Code: CodeUnknown, Status: http.StatusBadGateway, Message: registry + " sent bytes that do not match their digest", Err: err}
	case errors.Is(err, digest.ErrDigestInvalidFormat), errors.Is(err, digest.ErrDigestUnsupported),
		errors.Is(err, digest.ErrDigestInvalidLength):
		return &Error{Code: CodeDigestInvalid, Message: "malformed digest", Err: err}
	case errors.Is(err, storage.ErrUnavailable): // which may wrap the time-out of a request to it
		return &Error{Code: CodeUnavailable, Message: "the store of hosted repositories does not answer", RetryAfter: storeRetry, Err: err}
	case errors.Is(err, context.Canceled):
		return &Error{Code: CodeUnavailable, Message: "this server is shutting down", RetryAfter: leastRetry, Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: CodeUnavailable, Status: http.StatusGatewayTimeout, Message: "no answer in time", Err: err}
	}
	return asPushError(err)
}

// asPushError is the part of the table that is about hosted repositories.
func asPushError(err error) *Error {
	var offset *hosted.OffsetError
	var invalid *hosted.InvalidManifestError
	var missing *hosted.MissingBlobError
	e := &Error{Code: CodeUnknown, Message: "internal error", Err: err}
	switch {
	case errors.As(err, &offset):
		e.Code, e.Status, e.Size, e.Message = CodeBlobUploadInvalid, http.StatusRequestedRangeNotSatisfiable, -1, offset.Error()
	case errors.As(err, &invalid):
		e.Code, e.Message = CodeManifestInvalid, invalid.Reason
	case errors.As(err, &missing):
		e.Code, e.Message = CodeManifestBlobUnknown, missing.Error()
	case errors.Is(err, hosted.ErrNameUnknown):
		e.Code, e.Message = CodeNameUnknown, "nothing of that name is hosted here"
	case errors.Is(err, hosted.ErrManifestUnknown):
		e.Code, e.Message = CodeManifestUnknown, "no such manifest is hosted here"
	case errors.Is(err, hosted.ErrBlobUnknown):
		e.Code, e.Message = CodeBlobUnknown, "no such blob is hosted here"
	case errors.Is(err, hosted.ErrUploadUnknown):
		e.Code, e.Message = CodeBlobUploadUnknown, "no such upload is under way; begin again"
	case errors.Is(err, hosted.ErrDigestMismatch):
		e.Code, e.Message = CodeDigestInvalid, "what was sent does not have the digest that was announced"
	case errors.Is(err, storage.ErrSize):
		e.Code, e.Message = CodeSizeInvalid, "what was sent does not have the length that was announced"
	case errors.Is(err, hosted.ErrTooManyChunks):
		e.Code, e.Status = CodeBlobUploadInvalid, http.StatusRequestEntityTooLarge
		e.Message = "the upload has too many chunks; begin again with larger ones"
	case errors.Is(err, hosted.ErrConflict):
		e.Code, e.RetryAfter, e.Message = CodeUnavailable, leastRetry, "others keep changing this at the same time"
	case errors.Is(err, storage.ErrNoSpace):
		e.Code, e.Status, e.Message = CodeUnavailable, http.StatusInsufficientStorage, "the server has no space left"
	}
	return e
}

// asOutage: 503 where asking later helps (containerd asks a 429 again five times at once), else 502 or 504.
func asOutage(outage *cache.UnavailableError, err error) *Error {
	e := &Error{
		Code:       CodeUnavailable,
		Message:    fmt.Sprintf("upstream %s cannot answer (%s) and nothing is cached", outage.Upstream, outage.Cause),
		RetryAfter: max(outage.RetryAfter, leastRetry),
		Err:        err,
	}
	switch outage.Cause {
	case cache.CauseTimeout:
		e.Status = http.StatusGatewayTimeout
	case cache.CauseFailed:
		e.Status = http.StatusBadGateway
	}
	return e
}
