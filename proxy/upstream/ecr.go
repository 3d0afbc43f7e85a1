package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// ecrAPI is the part of the AWS SDK that gets tokens.
type ecrAPI interface {
	GetAuthorizationToken(ctx context.Context, in *ecr.GetAuthorizationTokenInput, opts ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error)
}

// newECR gets tokens for a private ECR registry by the SDK's credential chain. A token lives for 12 hours and is replaced at half its
// life; while AWS gives no new one the old one serves.
func newECR(host string, now func() time.Time) lookup {
	return ecrTokens(now, func(ctx context.Context) (ecrAPI, error) {
		region, err := ecrRegion(host)
		if err != nil {
			return nil, err
		}
		c, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
		if err != nil {
			return nil, fmt.Errorf("configuration for AWS: %w", err)
		}
		return ecr.NewFromConfig(c), nil
	})
}

// ecrRegion reads the region off <account>.dkr.ecr.<region>.amazonaws.com and its siblings (.cn, -fips).
func ecrRegion(host string) (string, error) {
	parts := strings.Split(host, ".")
	if len(parts) < 6 || parts[1] != "dkr" || strings.TrimSuffix(parts[2], "-fips") != "ecr" {
		return "", fmt.Errorf("%s is not the name of a private ECR registry", host)
	}
	return parts[3], nil
}

func ecrTokens(now func() time.Time, connect func(context.Context) (ecrAPI, error)) lookup {
	var kept auth.Credential
	var expires time.Time // kept and expires are guarded by remember, which runs one lookup at a time
	get := func(ctx context.Context) (auth.Credential, error) {
		c, until, err := ecrToken(ctx, connect)
		if err == nil {
			kept, expires = c, until
		} else if !now().Before(expires) {
			return auth.EmptyCredential, err
		}
		return kept, nil
	}
	return remember(get, now, func(auth.Credential) time.Duration {
		return max(expires.Sub(now())/2, credentialLife)
	})
}

func ecrToken(ctx context.Context, connect func(context.Context) (ecrAPI, error)) (auth.Credential, time.Time, error) {
	none := auth.EmptyCredential
	api, err := connect(ctx)
	if err != nil {
		return none, time.Time{}, err
	}
	out, err := api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return none, time.Time{}, fmt.Errorf("authorization token from ECR: %w", err)
	}
	if len(out.AuthorizationData) == 0 {
		return none, time.Time{}, errors.New("authorization token from ECR: the answer has none")
	}
	data := out.AuthorizationData[0]
	plain, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok {
		return none, time.Time{}, errors.New("authorization token from ECR: not user:password in base64")
	}
	return auth.Credential{Username: user, Password: password}, aws.ToTime(data.ExpiresAt), nil
}
