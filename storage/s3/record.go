package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/entrepot/entrepot/storage"
)

// PutIf lets the server compare ETags. A write whose first answer is its success, or a refusal, is what that says. After
// any other (the SDK sent it again, the connection broke, the server failed or kept silent) the record is read back: where
// it has these bytes, this write has won, which is why records carry a nonce. Where it has not, a refusal of the last try
// is ErrConflict, also if an earlier one was stored and replaced since; after any other error the record may still
// become the new one.
func (s *Store) PutIf(ctx context.Context, key string, record []byte, was storage.Version) (storage.Version, error) {
	object, err := s.object(ctx, key)
	if err != nil {
		return storage.Absent, fmt.Errorf("put %s: %w", key, err)
	}
	now, sent, err := s.putIf(ctx, object, record, was)
	if err == nil {
		return now, nil
	}
	if sent.doubtful(err) && ctx.Err() == nil {
		if errors.Is(err, errStalled) { // the caller has waited for long
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, s.timeout/5)
			defer cancel()
		}
		if current, version, got := s.Get(ctx, key); got == nil && bytes.Equal(current, record) {
			return version, nil
		}
	}
	return storage.Absent, fmt.Errorf("put %s: %w", key, err)
}

func (s *Store) putIf(ctx context.Context, object *string, record []byte, was storage.Version) (now storage.Version, sent tries, err error) {
	call, cancel := s.call(ctx)
	defer cancel()
	in := &s3.PutObjectInput{
		Bucket: s.bucket, Key: object,
		Body: bytes.NewReader(record), ContentLength: aws.Int64(int64(len(record))),
		ServerSideEncryption: s.sse, SSEKMSKeyId: s.kmsKey,
	}
	if was == storage.Absent {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = aws.String(`"` + string(was) + `"`)
	}
	out, err := s.client.PutObject(call, in, sent.count)
	if err != nil {
		err = reason(ctx, err)
		if r, ok := errors.AsType[*refusal](err); ok && was != storage.Absent && errors.Is(err, storage.ErrNotFound) {
			err = fmt.Errorf("%w: %w", storage.ErrConflict, r) // what is absent is at no version
		}
		return storage.Absent, sent, err
	}
	if now = version(out.ETag); now == storage.Absent {
		return now, sent, fmt.Errorf("%w: no ETag", errAnswer)
	}
	return now, sent, nil
}

// Delete makes no difference between what it removed and what was absent.
func (s *Store) Delete(ctx context.Context, key string) error {
	object, err := s.object(ctx, key)
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	call, cancel := s.call(ctx)
	defer cancel()
	if _, err := s.client.DeleteObject(call, &s3.DeleteObjectInput{Bucket: s.bucket, Key: object}); err != nil {
		if err := reason(ctx, err); !errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("delete %s: %w", key, err)
		}
	}
	return nil
}
