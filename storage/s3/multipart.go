package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/entrepot/entrepot/storage"
)

const (
	maxParts   = 10_000 // of one upload, by S3
	largeStep  = 1 << 20
	noncePlace = "entrepot-upload" // metadata of an object: which upload made it

	// completion is how many times longer than other requests one may take that makes an object of its parts: some servers
	// copy them all.
	completion = 20
)

// upload is a multipart upload under way. Nothing is visible before it is complete.
type upload struct {
	store  *Store
	object *string
	id     *string
	nonce  string

	mu    sync.Mutex // parts are sent by several goroutines
	parts []types.CompletedPart
}

// pieceOf is how large the pieces of an object are. size < 0 is unknown: 10,000 pieces must be enough all the same.
func (s *Store) pieceOf(size int64) int64 {
	if size < 0 {
		return 2 * s.piece
	}
	least := (size + maxParts - 1) / maxParts
	return max(s.piece, (least+largeStep-1)/largeStep*largeStep)
}

// upload makes an object of the parts that send sends, or nothing.
func (s *Store) upload(ctx context.Context, object *string, send func(*upload) error) error {
	u, err := s.begin(ctx, object)
	if err != nil {
		return err
	}
	if err = send(u); err == nil {
		err = u.complete(ctx)
	}
	if err != nil {
		u.abort(ctx)
	}
	return err
}

func (s *Store) begin(ctx context.Context, object *string) (*upload, error) {
	call, cancel := s.call(ctx)
	defer cancel()
	nonce := rand.Text()
	out, err := s.client.CreateMultipartUpload(call, &s3.CreateMultipartUploadInput{
		Bucket: s.bucket, Key: object,
		Metadata:             map[string]string{noncePlace: nonce},
		ServerSideEncryption: s.sse, SSEKMSKeyId: s.kmsKey,
	})
	if err != nil {
		return nil, reason(ctx, err)
	}
	if aws.ToString(out.UploadId) == "" {
		return nil, fmt.Errorf("%w: no upload id", errAnswer)
	}
	return &upload{store: s, object: object, id: out.UploadId, nonce: nonce}, nil
}

func (u *upload) send(ctx context.Context, number int, part *io.SectionReader) error {
	if number > maxParts {
		return fmt.Errorf("%w: more than %d pieces", storage.ErrSize, maxParts)
	}
	out, err := u.store.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: u.store.bucket, Key: u.object, UploadId: u.id, PartNumber: aws.Int32(int32(number)),
		Body: part, ContentLength: aws.Int64(part.Size()),
	})
	if err != nil {
		return reason(ctx, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts = append(u.parts, types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(int32(number))})
	return nil
}

// complete makes the object. A server that is asked again, because its first answer was lost, does not know the upload any
// more: then the object says whose it is.
func (u *upload) complete(ctx context.Context) error {
	slices.SortFunc(u.parts, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	var sent tries
	_, err := u.store.client.CompleteMultipartUpload(withPatience(ctx, completion*u.store.timeout), &s3.CompleteMultipartUploadInput{
		Bucket: u.store.bucket, Key: u.object, UploadId: u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
	}, sent.count)
	if err == nil {
		return nil
	}
	err = reason(ctx, err)
	if sent.doubtful(err) && ctx.Err() == nil && u.done(ctx) {
		return nil
	}
	return err
}

func (u *upload) done(ctx context.Context) bool {
	call, cancel := u.store.call(ctx)
	defer cancel()
	out, err := u.store.client.HeadObject(call, &s3.HeadObjectInput{Bucket: u.store.bucket, Key: u.object})
	return err == nil && out.Metadata[noncePlace] == u.nonce
}

// abort gives the space of the parts back, also after ctx ended. Then somebody may wait for the end of the process, so it is tried
// shortly: AbortUploads ends what stays.
func (u *upload) abort(ctx context.Context) {
	patience := 2 * u.store.timeout
	if ctx.Err() != nil {
		patience = u.store.timeout / 5
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), patience, errStalled)
	defer cancel()
	if err := u.store.abort(ctx, u.object, u.id); err != nil {
		u.store.log.Warn("parts of an upload were left in the bucket", "object", *u.object, "err", err)
	}
}

func (s *Store) abort(ctx context.Context, object, id *string) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: s.bucket, Key: object, UploadId: id})
	if err == nil {
		return nil
	}
	err = reason(ctx, err)
	if r, ok := errors.AsType[*refusal](err); ok && r.code == "NoSuchUpload" {
		return nil // it ended by itself
	}
	return err
}

// AbortUploads ends the multipart uploads of objects whose keys begin with prefix, whoever began them, that are older than age,
// and tells how many. A process that was killed leaves them, and their parts are paid for. An age shorter than the longest push
// ends that too. Servers that list uploads by whole keys only (MinIO) show it none.
func (s *Store) AbortUploads(ctx context.Context, prefix string, age time.Duration) (int, error) {
	aborted := 0
	in := &s3.ListMultipartUploadsInput{Bucket: s.bucket, Prefix: aws.String(s.prefix + prefix)}
	for {
		out, err := s.client.ListMultipartUploads(ctx, in)
		if err != nil {
			return aborted, fmt.Errorf("list uploads: %w", reason(ctx, err))
		}
		for _, found := range out.Uploads {
			if s.now().Sub(aws.ToTime(found.Initiated)) <= age {
				continue
			}
			if err := s.abort(ctx, found.Key, found.UploadId); err != nil {
				return aborted, fmt.Errorf("abort upload of %s: %w", aws.ToString(found.Key), err)
			}
			aborted++
		}
		if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextKeyMarker) == "" {
			return aborted, nil
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
}
