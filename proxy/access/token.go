package access

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	clockSkew = 30 * time.Second // by which a replica's clock may be behind that of the one that made a token
	maxToken  = 32 << 10         // bytes; the longest that sign makes of parsed scopes is about 16 KiB
)

// claims are what a token says. Its times are whole seconds, as JWT has them: Expires is cut, never rounded up.
type claims struct {
	Subject         Subject
	Mark            string // of the subject's password, with which the token ends
	Failed          bool   // a login failed, and this is the token of nobody in particular that was given instead
	Replica         bool   // another server asks for a client of its own
	Grants          []Grant
	Issued, Expires time.Time
}

// jwtClaims are claims as distribution's token specification has them, with three more.
type jwtClaims struct {
	jwt.RegisteredClaims
	Access  []Grant `json:"access,omitempty"`
	Mark    string  `json:"mrk,omitempty"`
	Failed  bool    `json:"fld,omitempty"`
	Replica bool    `json:"rpl,omitempty"`
}

// sign makes a token for the service, which issues it and is who it is for.
func (k *keys) sign(c claims, service string, random io.Reader) (string, error) {
	id := make([]byte, 16)
	if _, err := io.ReadFull(random, id); err != nil {
		return "", fmt.Errorf("sign a token: make its id: %w", err)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, &jwtClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    service,
			Subject:   string(c.Subject),
			Audience:  jwt.ClaimStrings{service},
			ExpiresAt: jwt.NewNumericDate(c.Expires),
			NotBefore: jwt.NewNumericDate(c.Issued.Add(-clockSkew)),
			IssuedAt:  jwt.NewNumericDate(c.Issued),
			ID:        hex.EncodeToString(id),
		},
		Access: c.Grants, Mark: c.Mark, Failed: c.Failed, Replica: c.Replica,
	})
	token.Header["kid"] = k.id
	text, err := token.SignedString(k.signer)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return text, nil
}

// verify reads a token that one of these keys has signed, for that service and for this time. What else its header says of
// keys (jwk, jku, x5c) is not looked at.
func (k *keys) verify(token, service string, now time.Time) (claims, error) {
	if len(token) > maxToken {
		return claims{}, fmt.Errorf("the token has %d bytes", len(token))
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg()}),
		jwt.WithStrictDecoding(),
		jwt.WithIssuer(service), jwt.WithAudience(service),
		jwt.WithExpirationRequired(), jwt.WithNotBeforeRequired(),
		jwt.WithTimeFunc(func() time.Time { return now }),
	)
	var c jwtClaims
	if _, err := parser.ParseWithClaims(token, &c, k.find); err != nil {
		return claims{}, fmt.Errorf("the token is not valid: %.200s", err) // err may repeat the token
	}
	found := claims{Subject: Subject(c.Subject), Mark: c.Mark, Failed: c.Failed, Replica: c.Replica, Grants: c.Access, Expires: c.ExpiresAt.Time}
	if c.IssuedAt != nil {
		found.Issued = c.IssuedAt.Time
	}
	return found, nil
}

// find gives the key that a token names.
func (k *keys) find(token *jwt.Token) (any, error) {
	if _, critical := token.Header["crit"]; critical {
		return nil, errors.New("it needs extensions") // RFC 7515, 4.1.11: refuse what is not understood
	}
	id, _ := token.Header["kid"].(string)
	key, known := k.verifiers[id]
	if !known {
		return nil, errors.New("it names none of the keys")
	}
	return key, nil
}
