package storage

import (
	"fmt"
	"strings"
)

// Limits of a key, in bytes. They are those of the narrowest store: S3 for the key, a file system for the element.
const (
	MaxKey     = 1024
	MaxElement = 255
)

// CheckKey tells whether an object can have this key: elements between single slashes, none of them empty, "." or "..",
// none over MaxElement bytes, no NUL, at most MaxKey bytes in all. The error is ErrInvalidKey.
func CheckKey(key string) error {
	if len(key) > MaxKey {
		return fmt.Errorf("%w: %d bytes", ErrInvalidKey, len(key))
	}
	for element := range strings.SplitSeq(key, "/") {
		if element == "" || element == "." || element == ".." || !fits(element) {
			return fmt.Errorf("%w: %q", ErrInvalidKey, key)
		}
	}
	return nil
}

// CheckPrefix tells whether a key can begin with prefix. A prefix no key can have is a mistake and not an empty listing:
// whoever deletes what is not listed must hear of it.
func CheckPrefix(prefix string) error {
	slash := strings.LastIndexByte(prefix, '/')
	if slash >= 0 {
		if err := CheckKey(prefix[:slash]); err != nil {
			return err
		}
	}
	if len(prefix) > MaxKey || !fits(prefix[slash+1:]) {
		return fmt.Errorf("%w: prefix %q", ErrInvalidKey, prefix)
	}
	return nil
}

func fits(element string) bool {
	return len(element) <= MaxElement && strings.IndexByte(element, 0) < 0
}
