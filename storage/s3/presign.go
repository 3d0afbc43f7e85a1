package s3

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Presign asks the S3 server nothing, but may ask whoever gives credentials. The URL ends with them where they are temporary.
func (s *Store) Presign(ctx context.Context, key string, life time.Duration) (url string, err error) {
	object, err := s.object(ctx, key)
	if err == nil {
		url, err = s.presign(ctx, object, life)
	}
	if err != nil {
		return "", fmt.Errorf("presign %s: %w", key, err)
	}
	return url, nil
}

func (s *Store) presign(ctx context.Context, object *string, life time.Duration) (string, error) {
	call, cancel := s.call(ctx)
	defer cancel()
	signed, err := s.signer.PresignGetObject(call, &s3.GetObjectInput{Bucket: s.bucket, Key: object}, s3.WithPresignExpires(life))
	if err != nil {
		return "", reason(ctx, err)
	}
	return signed.URL, nil
}

// clocked signs by the store's clock.
type clocked struct {
	*v4.Signer
	now func() time.Time
}

func newClocked(now func() time.Time) clocked {
	return clocked{v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }), now} // S3 signs paths as they are
}

func (c clocked) PresignHTTP(ctx context.Context, credentials aws.Credentials, r *http.Request, payload, service, region string, _ time.Time, options ...func(*v4.SignerOptions)) (string, http.Header, error) {
	return c.Signer.PresignHTTP(ctx, credentials, r, payload, service, region, c.now(), options...)
}
