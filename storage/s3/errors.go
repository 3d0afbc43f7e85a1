package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/entrepot/entrepot/storage"
)

// errAnswer says that the server's answer lacks what S3 promises.
var errAnswer = errors.New("not the answer of an S3 server")

// refusal is an error that the server answered with. The SDK's own errors hold the whole request, with what signs it.
type refusal struct {
	status  int
	code    string
	message string
	request string
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("status %d, %.60s", r.status, r.code)
	if r.message != "" {
		text += fmt.Sprintf(", %.200q", r.message)
	}
	if r.request != "" {
		text += fmt.Sprintf(", request %.60s", r.request)
	}
	return text
}

// reason says in the contract's words why a call failed whose caller's context is ctx.
func reason(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if errors.Is(err, errStalled) || errors.Is(err, context.DeadlineExceeded) { // not the caller's, so that of call
		return unavailable(errStalled)
	}
	if r := answer(err); r != nil {
		if known := r.meaning(); known != nil {
			return fmt.Errorf("%w: %w", known, r)
		}
		return r
	}
	if send, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return unavailable(send.Err)
	}
	if operation, ok := errors.AsType[*smithy.OperationError](err); ok {
		return operation.Err
	}
	return err
}

// unavailable says that asking again later may help.
func unavailable(err error) error { return fmt.Errorf("%w: %w", storage.ErrUnavailable, err) }

// answer is what the server refused a call with, or nil.
func answer(err error) *refusal {
	var status interface{ HTTPStatusCode() int }
	if !errors.As(err, &status) || status.HTTPStatusCode() < http.StatusMultipleChoices {
		return nil
	}
	r := &refusal{status: status.HTTPStatusCode()}
	r.code = http.StatusText(r.status)
	var api smithy.APIError
	if errors.As(err, &api) {
		r.code, r.message = api.ErrorCode(), api.ErrorMessage()
	}
	var request interface{ ServiceRequestID() string }
	if errors.As(err, &request) {
		r.request = request.ServiceRequestID()
	}
	return r
}

// meaning is the contract's error for r, if it has one. A 404 is an absent object only by its code: a bucket that is not
// there, or a server that is no S3 server, says 404 too.
func (r *refusal) meaning() error {
	switch r.code {
	case "NoSuchKey":
		return storage.ErrNotFound
	case "ConditionalRequestConflict", "OperationAborted":
		return storage.ErrConflict
	case "QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded":
		return storage.ErrNoSpace
	}
	switch r.status {
	case http.StatusPreconditionFailed:
		return storage.ErrConflict
	case http.StatusInsufficientStorage:
		return storage.ErrNoSpace
	}
	if r.status >= http.StatusInternalServerError || r.status == http.StatusTooManyRequests {
		return storage.ErrUnavailable
	}
	return nil
}

// refused reports whether err is an answer with that status.
func refused(err error, status int) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.status == status
}

// tries counts how often a call was sent.
type tries int

// count is an option of the call.
func (t *tries) count(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		counter := func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			*t++
			return next.HandleFinalize(ctx, in)
		}
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("CountTries", counter), "Retry", middleware.After)
	})
}

// doubtful reports whether a call that failed with err may have taken effect: unless it was sent once at most and refused.
func (t tries) doubtful(err error) bool {
	r, answered := errors.AsType[*refusal](err)
	refused := answered && r.status < http.StatusInternalServerError
	return t > 1 || t == 1 && !refused
}
