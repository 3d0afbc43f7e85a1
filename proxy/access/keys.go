package access

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
)

// keys sign and verify tokens. They never change.
type keys struct {
	signer    *ecdsa.PrivateKey
	id        string // of signer
	verifiers map[string]*ecdsa.PublicKey
}

// newKeys makes a set of which signer signs; it and all others verify.
func newKeys(signer *ecdsa.PrivateKey, others ...*ecdsa.PrivateKey) (*keys, error) {
	id, err := keyID(&signer.PublicKey)
	if err != nil {
		return nil, err
	}
	k := &keys{signer: signer, id: id, verifiers: map[string]*ecdsa.PublicKey{id: &signer.PublicKey}}
	for _, key := range others {
		if id, err = keyID(&key.PublicKey); err != nil {
			return nil, err
		}
		k.verifiers[id] = &key.PublicKey
	}
	return k, nil
}

// keyID follows from the key alone, so that all replicas call it the same.
func keyID(key *ecdsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("name a key: %w", err)
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:12]), nil
}

// equal reports whether the same key signs and the same ones verify. Nil is no keys.
func (k *keys) equal(other *keys) bool {
	if k == nil || other == nil {
		return k == other
	}
	return k.id == other.id && maps.EqualFunc(k.verifiers, other.verifiers, func(a, b *ecdsa.PublicKey) bool { return a.Equal(b) })
}

const howToMakeAKey = "make one with: openssl ecparam -genkey -name prime256v1 -noout"

var pemBegin = []byte("-----BEGIN ")

// parseKeys reads private keys of P-256 in PEM, as SEC 1 or PKCS #8 has them. The first signs, all verify: a key that was
// replaced stays behind the one that replaces it until its tokens have expired. The error holds every mistake with its line,
// and nothing of any key.
func parseKeys(text []byte) (*keys, error) {
	var all []*ecdsa.PrivateKey
	var wrong mistakes
	line := 1
	for {
		begin := bytes.Index(text, pemBegin)
		if begin < 0 {
			break
		}
		line += bytes.Count(text[:begin], []byte("\n"))
		block, length := nextBlock(text[begin:])
		if key, err := parseKey(block); err != nil {
			wrong.add(fmt.Errorf("line %d: %w", line, err))
		} else if key != nil {
			all = append(all, key)
		}
		line += bytes.Count(text[begin:begin+length], []byte("\n"))
		text = text[begin+length:]
	}
	if len(all) == 0 && wrong.err() == nil {
		wrong.add(errors.New("there is no private key; " + howToMakeAKey))
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	return newKeys(all[0], all[1:]...)
}

// nextBlock reads the block with which text begins, and tells how long that is. The decoder skips what is damaged without a
// word: it gets no more than one block, and nil is one that it cannot read.
func nextBlock(text []byte) (block *pem.Block, length int) {
	length = len(text)
	if next := bytes.Index(text[len(pemBegin):], pemBegin); next >= 0 {
		length = len(pemBegin) + next
	}
	block, _ = pem.Decode(text[:length])
	return block, length
}

// parseKey reads one block. Neither a key nor an error is for a block that tells the curve only, which openssl writes before
// its keys.
func parseKey(block *pem.Block) (*ecdsa.PrivateKey, error) {
	if block == nil {
		return nil, errors.New("a block is damaged or has no end")
	}
	if block.Headers["DEK-Info"] != "" || block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, errors.New("the key is encrypted; it must not be")
	}
	var key any
	var err error
	switch block.Type {
	case "EC PARAMETERS":
		return nil, nil
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("%.40q is not a private key of P-256; %s", block.Type, howToMakeAKey)
	}
	if err != nil {
		return nil, fmt.Errorf("the key is damaged, or not of P-256; %s", howToMakeAKey) // err may tell of its bytes
	}
	if found, ok := key.(*ecdsa.PrivateKey); ok && found.Curve == elliptic.P256() {
		return found, nil
	}
	return nil, fmt.Errorf("the key is not of P-256 but of %s; %s", kindOfKey(key), howToMakeAKey)
}

func kindOfKey(key any) string {
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return key.Curve.Params().Name
	case *rsa.PrivateKey:
		return "RSA"
	case ed25519.PrivateKey:
		return "Ed25519"
	}
	return "another kind"
}
