package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/storage"
)

const (
	inMemory = 64 << 10 // bodies announced as no larger need no file
	parallel = 4        // pieces of a file under way at once
	slots    = 2        // pieces in the spool: one is filled while one is sent
)

// Put sends a body that is a file, or can be read at any place as one, from where it is; any other is spooled piece by
// piece, two at a time, so that a piece can be sent again. What is larger than a piece goes by a multipart upload. After an
// error other than ErrSize the object may be there all the same, whole.
func (s *Store) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	object, err := s.object(ctx, key)
	if err == nil {
		err = s.put(ctx, object, body, size)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

func (s *Store) put(ctx context.Context, object *string, body io.Reader, size int64) error {
	if file, ok := section(body); ok {
		if size >= 0 && file.Size() != size {
			return fmt.Errorf("%w: %d bytes of %d", storage.ErrSize, file.Size(), size)
		}
		return s.putFile(ctx, object, file)
	}
	body = storage.Body(ctx, body, size)
	if size < 0 || size > inMemory {
		return s.putStream(ctx, object, body, size)
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return s.putOne(ctx, object, io.NewSectionReader(bytes.NewReader(content), 0, size))
}

// section is what is left to read of a body that can be read at any place.
func section(body io.Reader) (*io.SectionReader, bool) {
	file, ok := body.(interface {
		io.ReaderAt
		io.Seeker
	})
	if !ok {
		return nil, false
	}
	if file, ok := body.(*os.File); ok {
		if found, err := file.Stat(); err != nil || !found.Mode().IsRegular() {
			return nil, false
		}
	}
	start, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, false
	}
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, false
	}
	if _, err := file.Seek(start, io.SeekStart); err != nil {
		return nil, false
	}
	return io.NewSectionReader(file, start, end-start), true
}

// putOne sends the whole object in one request.
func (s *Store) putOne(ctx context.Context, object *string, body *io.SectionReader) error {
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: s.bucket, Key: object,
		Body: body, ContentLength: aws.Int64(body.Size()),
		ServerSideEncryption: s.sse, SSEKMSKeyId: s.kmsKey,
	})
	if err != nil {
		return reason(ctx, err)
	}
	return nil
}

func (s *Store) putFile(ctx context.Context, object *string, file *io.SectionReader) error {
	piece := s.pieceOf(file.Size())
	if file.Size() <= piece {
		return s.putOne(ctx, object, file)
	}
	return s.upload(ctx, object, func(u *upload) error {
		all, ctx := errgroup.WithContext(ctx)
		all.SetLimit(parallel)
		for off, number := int64(0), 1; off < file.Size(); off, number = off+piece, number+1 {
			all.Go(func() error { // ends with its request
				return u.send(ctx, number, io.NewSectionReader(file, off, min(piece, file.Size()-off)))
			})
		}
		return all.Wait()
	})
}

func (s *Store) putStream(ctx context.Context, object *string, body io.Reader, size int64) error {
	spool, err := openSpool(s.spool)
	if err != nil {
		return fmt.Errorf("spool: %w", full(err))
	}
	defer spool.Close()
	piece := s.pieceOf(size)
	first, err := fill(spool, 0, piece, body)
	if err != nil {
		return err
	}
	if first.Size() < piece {
		return s.putOne(ctx, object, first)
	}
	return s.upload(ctx, object, func(u *upload) error {
		return u.stream(ctx, spool, piece, first, body)
	})
}

// stream sends first and then what is left of body.
func (u *upload) stream(ctx context.Context, spool *os.File, piece int64, first *io.SectionReader, body io.Reader) error {
	sent, ctx := errgroup.WithContext(ctx)
	sent.SetLimit(slots - 1)           // Go waits for it, and so the slot that is filled next is nobody's
	body = storage.Body(ctx, body, -1) // a piece that fails ends the reading
	next, err := first, error(nil)
	for number := 1; err == nil && next.Size() > 0; number++ {
		sending := next
		sent.Go(func() error { return u.send(ctx, number, sending) }) // ends with its request
		next, err = fill(spool, int64(number%slots)*piece, piece, body)
	}
	if failed := sent.Wait(); failed != nil {
		return failed
	}
	return err
}

// openSpool makes a file that has no name any more: it ends with the process at the latest.
func openSpool(folder string) (*os.File, error) {
	f, err := os.CreateTemp(folder, "entrepot-s3-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fill writes up to piece bytes of body to the spool. Fewer are the end of the body.
func fill(spool *os.File, off, piece int64, body io.Reader) (*io.SectionReader, error) {
	n, err := io.Copy(filler{io.NewOffsetWriter(spool, off)}, io.LimitReader(body, piece))
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(spool, off, n), nil
}

// filler tells a spool that is full from a body that breaks because another disk is.
type filler struct{ to io.Writer }

func (f filler) Write(p []byte) (int, error) {
	n, err := f.to.Write(p)
	return n, full(err)
}

func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", storage.ErrNoSpace, err)
	}
	return err
}
