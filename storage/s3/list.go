package s3

import (
	"context"
	"fmt"
	"iter"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/entrepot/entrepot/storage"
)

// List asks for a thousand objects at a time, each time after the last that was seen. Objects of the bucket that no key of
// this store names, as the folders that consoles make, are not in it. A server that lists in another order is an error:
// whoever deletes what is not listed must hear of it.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		err := s.list(ctx, prefix, after, func(found storage.Info) bool { return yield(found, nil) })
		if err != nil {
			yield(storage.Info{}, fmt.Errorf("list %s: %w", prefix, err))
		}
	}
}

func (s *Store) list(ctx context.Context, prefix, after string, yield func(storage.Info) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := storage.CheckPrefix(prefix); err != nil {
		return err
	}
	if after > prefix && !strings.HasPrefix(after, prefix) {
		return nil // it comes after all that begin with prefix
	}
	for more := true; more; {
		page, truncated, err := s.page(ctx, prefix, after)
		if err != nil {
			return err
		}
		begun := after
		for _, found := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			if found.Key == begun { // some count the object named as one after it
				continue
			}
			if found.Key <= after || !strings.HasPrefix(found.Key, prefix) {
				return fmt.Errorf("%w: %q listed after %q, with prefix %q", errAnswer, found.Key, after, prefix)
			}
			after = found.Key
			if storage.CheckKey(found.Key) == nil && !yield(found) {
				return nil
			}
		}
		if truncated && after == begun {
			return fmt.Errorf("%w: a listing that does not go on after %q", errAnswer, after)
		}
		more = truncated
	}
	return nil
}

func (s *Store) page(ctx context.Context, prefix, after string) (page []storage.Info, truncated bool, err error) {
	call, cancel := s.call(ctx)
	defer cancel()
	in := &s3.ListObjectsV2Input{
		Bucket: s.bucket, Prefix: aws.String(s.prefix + prefix),
		EncodingType: types.EncodingTypeUrl, // XML cannot hold every key
	}
	if after >= prefix && after != "" {
		in.StartAfter = aws.String(s.prefix + after)
	}
	out, err := s.client.ListObjectsV2(call, in)
	if err != nil {
		return nil, false, reason(ctx, err)
	}
	page = make([]storage.Info, 0, len(out.Contents))
	for _, object := range out.Contents {
		name := aws.ToString(object.Key)
		if out.EncodingType == types.EncodingTypeUrl { // not all do it
			if name, err = url.QueryUnescape(name); err != nil {
				return nil, false, fmt.Errorf("%w: %w", errAnswer, err)
			}
		}
		key, ours := strings.CutPrefix(name, s.prefix)
		if !ours {
			return nil, false, fmt.Errorf("%w: %q listed under %q", errAnswer, name, s.prefix+prefix)
		}
		page = append(page, info(key, aws.ToInt64(object.Size), object.LastModified))
	}
	return page, aws.ToBool(out.IsTruncated), nil
}
