// Package s3 keeps objects in a bucket of an S3 server. Whatever it acknowledges the server has acknowledged.
//
// A bucket wants two rules of its owner: one that removes incomplete multipart uploads after some days, because a process
// that is killed leaves the parts of those under way (see AbortUploads), and no versioning, or one that removes noncurrent
// versions, because nothing here ever reads or deletes them.
package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"

	"github.com/entrepot/entrepot/storage"
)

const (
	attempts       = 3
	maxBackoff     = 2 * time.Second
	defaultTimeout = 15 * time.Second
	defaultPiece   = 16 << 20
	minPiece       = 5 << 20 // what S3 takes for a part that is not the last
)

// Options says where the bucket is and how it is reached. Credentials, and the CA of a server of one's own, come from where
// the SDK looks for them: environment, profile, role of the machine or pod.
type Options struct {
	Bucket string
	Prefix string // of every key, without a slash at its end

	Endpoint  string // "" is AWS
	Region    string // "" is the SDK's, or us-east-1 where an endpoint is named
	PathStyle bool   // the bucket in the path and not in the host name

	SSE    string // "", AES256 or aws:kms
	KMSKey string // only with aws:kms; "" is the bucket's

	// Timeout is how long a request may go without a byte moving. Calls about small things end after twice that.
	Timeout time.Duration // 0 is 15 s
	Piece   int64         // how much of a large object goes in one request; 0 is 16 MiB
	Spool   string        // a folder for two such pieces of each upload; "" is the system's for temporary files

	Log *slog.Logger
	Now func() time.Time
}

// Store is a storage.Store in a bucket, for any number of processes at once: the server decides conditional writes. Where
// it does not, storage.Probe says so. It is unable to do storage.DeleteIf, whose condition many servers ignore.
type Store struct {
	client  *s3.Client
	signer  *s3.PresignClient
	bucket  *string
	prefix  string // "", or with a slash at its end
	sse     types.ServerSideEncryption
	kmsKey  *string
	timeout time.Duration
	piece   int64
	spool   string
	log     *slog.Logger
	now     func() time.Time

	transport *patient
}

// New checks the options and asks the server nothing. Close ends idle connections.
func New(ctx context.Context, options Options) (*Store, error) {
	s, err := newStore(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("s3 store: %w", err)
	}
	return s, nil
}

func newStore(ctx context.Context, o Options) (*Store, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Store{
		bucket:  aws.String(o.Bucket),
		sse:     types.ServerSideEncryption(o.SSE),
		timeout: o.Timeout,
		piece:   o.Piece,
		spool:   o.Spool,
		log:     o.Log,
		now:     o.Now,
	}
	if o.Prefix != "" {
		s.prefix = o.Prefix + "/"
	}
	if o.KMSKey != "" {
		s.kmsKey = aws.String(o.KMSKey)
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	if s.piece == 0 {
		s.piece = defaultPiece
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.trySpool(); err != nil {
		return nil, err
	}
	return s, s.connect(ctx, o)
}

func (o *Options) check() error {
	var problems []error
	if o.Bucket == "" || strings.ContainsAny(o.Bucket, "/?# ") {
		problems = append(problems, fmt.Errorf("bucket %q: a bucket has to be named", o.Bucket))
	}
	if o.Prefix != "" {
		if err := storage.CheckKey(o.Prefix); err != nil {
			problems = append(problems, fmt.Errorf("prefix: %w", err))
		}
	}
	if err := checkEndpoint(o.Endpoint); err != nil {
		problems = append(problems, err)
	}
	switch {
	case o.SSE != "" && o.SSE != string(types.ServerSideEncryptionAes256) && o.SSE != string(types.ServerSideEncryptionAwsKms):
		problems = append(problems, fmt.Errorf("encryption %q: neither AES256 nor aws:kms", o.SSE))
	case o.KMSKey != "" && o.SSE != string(types.ServerSideEncryptionAwsKms):
		problems = append(problems, errors.New("a KMS key is only for the encryption aws:kms"))
	}
	if o.Timeout < 0 {
		problems = append(problems, fmt.Errorf("timeout %s: negative", o.Timeout))
	}
	if o.Piece != 0 && o.Piece < minPiece {
		problems = append(problems, fmt.Errorf("piece of %d bytes: S3 takes none under %d", o.Piece, minPiece))
	}
	if o.Now == nil {
		problems = append(problems, errors.New("no clock"))
	}
	return errors.Join(problems...)
}

// checkEndpoint does not repeat the endpoint: it may hold a password.
func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("endpoint: not of the form https://host:port")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("endpoint: only scheme, host, port and path; credentials have their own variables")
	}
	return nil
}

// trySpool finds out now what would otherwise be found out by the first large push.
func (s *Store) trySpool() error {
	if s.spool == "" {
		s.spool = os.TempDir()
	}
	f, err := openSpool(s.spool)
	if err != nil {
		return fmt.Errorf("spool folder: %w", err)
	}
	return f.Close()
}

func (s *Store) connect(ctx context.Context, o Options) error {
	retryer := func() aws.Retryer {
		return retry.NewStandard(func(r *retry.StandardOptions) { r.MaxAttempts, r.MaxBackoff = attempts, maxBackoff })
	}
	// The SDK's lines say nothing that its errors do not.
	load := []func(*config.LoadOptions) error{config.WithRetryer(retryer), config.WithLogger(logging.Nop{})}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	found, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return fmt.Errorf("SDK configuration: %w", err)
	}
	if found.Region == "" {
		if o.Endpoint == "" {
			return errors.New("no region: AWS needs one")
		}
		found.Region = "us-east-1"
	}
	s.transport = newPatient(s.timeout)
	if theirs, ok := found.HTTPClient.(*awshttp.BuildableClient); ok {
		s.transport.trust(theirs.GetTransport().TLSClientConfig) // with the CA that the environment names
	}
	s.client = s3.NewFromConfig(found, func(to *s3.Options) {
		to.HTTPClient = s.transport
		to.UsePathStyle = o.PathStyle
		if o.Endpoint != "" {
			to.BaseEndpoint = aws.String(o.Endpoint)
		}
		// Only what every server knows. Bodies can be read twice, so over plain HTTP the SDK signs their digest; and whoever
		// reads a blob verifies it.
		to.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		to.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	s.signer = s3.NewPresignClient(s.client, func(to *s3.PresignOptions) { to.Presigner = newClocked(s.now) })
	return nil
}

// Close ends idle connections. Operations under way must have ended.
func (s *Store) Close() error {
	s.transport.next.CloseIdleConnections()
	return nil
}

// object is the name of key's object in the bucket, if ctx has not ended and the key is one.
func (s *Store) object(ctx context.Context, key string) (*string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := storage.CheckKey(key); err != nil {
		return nil, err
	}
	if n := len(s.prefix) + len(key); n > storage.MaxKey {
		return nil, fmt.Errorf("%w: %d bytes with the store's prefix", storage.ErrInvalidKey, n)
	}
	return aws.String(s.prefix + key), nil
}

// call bounds a call about something small, its retries included.
func (s *Store) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, 2*s.timeout, errStalled)
}
