package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/entrepot/entrepot/storage"
)

// maxRecord bounds what Get reads into memory, in bytes.
const maxRecord = 64 << 20

// Stat costs a second request where it finds nothing: the answer to a HEAD does not say what is missing.
func (s *Store) Stat(ctx context.Context, key string) (storage.Info, error) {
	object, err := s.object(ctx, key)
	var found storage.Info
	if err == nil {
		found, err = s.stat(ctx, key, object)
	}
	if err != nil {
		return storage.Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	return found, nil
}

// Open gives a reader that ends with ctx too. A connection that breaks is an error, and nothing is asked again.
func (s *Store) Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, storage.Info, error) {
	object, err := s.object(ctx, key)
	var r io.ReadCloser
	var found storage.Info
	if err == nil {
		r, found, err = s.open(ctx, key, object, off, n)
	}
	if err != nil {
		return nil, storage.Info{}, fmt.Errorf("open %s: %w", key, err)
	}
	return r, found, nil
}

// Get reads once more what broke on the way.
func (s *Store) Get(ctx context.Context, key string) ([]byte, storage.Version, error) {
	object, err := s.object(ctx, key)
	if err != nil {
		return nil, storage.Absent, fmt.Errorf("get %s: %w", key, err)
	}
	call, cancel := s.call(ctx)
	defer cancel()
	for range attempts {
		var record []byte
		var version storage.Version
		record, version, err = s.record(call, key, object)
		if err == nil {
			return record, version, nil
		}
		if _, broke := errors.AsType[*cut](err); !broke {
			break
		}
	}
	return nil, storage.Absent, fmt.Errorf("get %s: %w", key, reason(ctx, err))
}

func (s *Store) record(ctx context.Context, key string, object *string) ([]byte, storage.Version, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: s.bucket, Key: object})
	if err != nil {
		return nil, storage.Absent, err
	}
	defer out.Body.Close()
	version := version(out.ETag)
	if version == storage.Absent {
		return nil, storage.Absent, fmt.Errorf("%w: no ETag", errAnswer)
	}
	r, _, err := part(key, out, 0, -1)
	if err != nil {
		return nil, storage.Absent, err
	}
	if r.left > maxRecord {
		return nil, storage.Absent, fmt.Errorf("%d bytes: too large for a record", r.left)
	}
	record := make([]byte, r.left)
	_, err = io.ReadFull(r, record)
	return record, version, err
}

func (s *Store) stat(ctx context.Context, key string, object *string) (storage.Info, error) {
	found, err := s.head(ctx, key, object)
	if !refused(err, http.StatusNotFound) {
		return found, err
	}
	r, found, err := s.get(ctx, key, object, 0, -1)
	if err != nil {
		return storage.Info{}, err
	}
	return found, r.Close() // it was put between the two
}

func (s *Store) head(ctx context.Context, key string, object *string) (storage.Info, error) {
	call, cancel := s.call(ctx)
	defer cancel()
	out, err := s.client.HeadObject(call, &s3.HeadObjectInput{Bucket: s.bucket, Key: object})
	if err != nil {
		return storage.Info{}, reason(ctx, err)
	}
	if out.ContentLength == nil {
		return storage.Info{}, fmt.Errorf("%w: no length", errAnswer)
	}
	return info(key, *out.ContentLength, out.LastModified), nil
}

func (s *Store) open(ctx context.Context, key string, object *string, off, n int64) (io.ReadCloser, storage.Info, error) {
	if off < 0 {
		return nil, storage.Info{}, fmt.Errorf("%w: at %d", storage.ErrRange, off)
	}
	for range attempts {
		if n != 0 {
			r, found, err := s.get(ctx, key, object, off, n)
			if !refused(err, http.StatusRequestedRangeNotSatisfiable) {
				return r, found, err
			}
		}
		// S3 has no ranges without a byte: whether there is nothing to read, or nothing there, only the size tells.
		found, err := s.stat(ctx, key, object)
		if err == nil {
			err = checkRange(off, found.Size)
		}
		if err != nil {
			return nil, storage.Info{}, err
		}
		if n == 0 || off == found.Size {
			return http.NoBody, found, nil
		}
		// It was replaced between the two.
	}
	return nil, storage.Info{}, fmt.Errorf("%w: a range within the object refused", errAnswer)
}

// get asks for n bytes from off on, n < 0 for all. n is not 0.
func (s *Store) get(ctx context.Context, key string, object *string, off, n int64) (io.ReadCloser, storage.Info, error) {
	in := &s3.GetObjectInput{Bucket: s.bucket, Key: object}
	switch {
	case n > 0 && n <= math.MaxInt64-off:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	case off > 0 || n > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", off))
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return nil, storage.Info{}, reason(ctx, err)
	}
	r, found, err := part(key, out, off, n)
	if err != nil {
		return nil, storage.Info{}, errors.Join(err, out.Body.Close())
	}
	r.ctx = ctx
	return r, found, nil
}

// part makes sure that an answer is what was asked for: not every server, and not every proxy before one, honours ranges.
func part(key string, out *s3.GetObjectOutput, off, n int64) (*reader, storage.Info, error) {
	if out.ContentLength == nil {
		return nil, storage.Info{}, fmt.Errorf("%w: no length", errAnswer)
	}
	first, length, size := int64(0), *out.ContentLength, *out.ContentLength
	if out.ContentRange != nil {
		var last int64
		if _, err := fmt.Sscanf(*out.ContentRange, "bytes %d-%d/%d", &first, &last, &size); err != nil || last-first+1 != length {
			return nil, storage.Info{}, fmt.Errorf("%w: %d bytes as range %.60q", errAnswer, length, *out.ContentRange)
		}
	}
	if err := checkRange(off, size); err != nil {
		return nil, storage.Info{}, err
	}
	if n < 0 || n > size-off {
		n = size - off
	}
	whole := out.ContentRange == nil && (off == 0 || n == 0)
	if !whole && (first != off || length != n) {
		return nil, storage.Info{}, fmt.Errorf("%w: asked for %d bytes at %d, got %d at %d", errAnswer, n, off, length, first)
	}
	return &reader{body: out.Body, key: key, left: n, ctx: context.Background()}, info(key, size, out.LastModified), nil
}

func checkRange(off, size int64) error {
	if off > size {
		return fmt.Errorf("%w: at %d of %d", storage.ErrRange, off, size)
	}
	return nil
}

// reader reads as many bytes as were promised.
type reader struct {
	ctx  context.Context // of Open
	body io.ReadCloser
	key  string
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if r.left == 0 {
		return n, io.EOF
	}
	if err != nil {
		err = &cut{r.key, r.left, r.reason(err)}
	}
	return n, err
}

// reason is never io.ErrUnexpectedEOF: that would say that the object is shorter than it was, and not that a connection broke.
func (r *reader) reason(err error) error {
	if ended := r.ctx.Err(); ended != nil {
		return ended
	}
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errBroken
	}
	return unavailable(err)
}

var errBroken = errors.New("the S3 server ended the connection")

func (r *reader) Close() error { return r.body.Close() }

// cut is the error of an answer that ended too soon.
type cut struct {
	key  string
	left int64
	err  error
}

func (c *cut) Error() string {
	return fmt.Sprintf("read %s: %d bytes before its end: %v", c.key, c.left, c.err)
}
func (c *cut) Unwrap() error { return c.err }

// info has whole seconds, because that is what a HEAD says and a listing does not.
func info(key string, size int64, modified *time.Time) storage.Info {
	return storage.Info{Key: key, Size: size, Modified: aws.ToTime(modified).UTC().Truncate(time.Second)}
}

// version is the same for one state however the server quotes it.
func version(etag *string) storage.Version {
	return storage.Version(strings.Trim(aws.ToString(etag), `"`))
}
