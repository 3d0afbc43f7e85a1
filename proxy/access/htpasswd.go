package access

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/crypto/bcrypt"
)

// maxPassword is what bcrypt looks at, in bytes. What comes after it would count for nothing.
const maxPassword = 72

// SetPassword gives the text of an htpasswd file with that password for the user, in the place of the one there was. The
// rest of it stays as it is, mistakes too. No error holds the password.
func SetPassword(text []byte, name, password string) ([]byte, error) {
	if err := checkUserName(name); err != nil {
		return nil, err
	}
	if err := checkPassword(password); err != nil {
		return nil, err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return nil, fmt.Errorf("hash the password of %q: %w", name, err)
	}
	written := replaceUser(text, name, name+":"+string(hash))
	if len(written) > maxUsersText {
		return nil, fmt.Errorf("there would be more than %d MiB of users", maxUsersText>>20)
	}
	return written, nil
}

// checkPassword fails on what a client could not send (RFC 7617 has no control characters), or would send in vain.
func checkPassword(password string) error {
	switch {
	case password == "":
		return errors.New("the password is empty")
	case len(password) > maxPassword:
		return fmt.Errorf("the password has more than %d bytes, which is all that bcrypt looks at", maxPassword)
	case strings.ContainsFunc(password, unicode.IsControl):
		return errors.New("the password has control characters, a line's end perhaps")
	}
	return nil
}

// replaceUser puts the line where the user's first one is, or at the end, and drops the user's others: with them the file
// would be invalid, and one of them may hold a password that somebody means to be rid of.
func replaceUser(text []byte, name, line string) []byte {
	ending := "\n"
	if bytes.Contains(text, []byte("\r\n")) {
		ending = "\r\n"
	}
	var out []byte
	written := false
	for old := range bytes.Lines(text) {
		if !isUser(old, name) {
			out = append(out, old...)
		} else if !written {
			out = append(out, line+ending...)
			written = true
		}
	}
	if written {
		return out
	}
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, ending...)
	}
	return append(out, line+ending...)
}

// RemoveUser gives the text of an htpasswd file without the user. The rest of it stays as it is.
func RemoveUser(text []byte, name string) (rest []byte, found bool) {
	for line := range bytes.Lines(text) {
		if isUser(line, name) {
			found = true
			continue
		}
		rest = append(rest, line...)
	}
	return rest, found
}

func isUser(line []byte, name string) bool {
	is, _, _ := splitUser(line)
	return is == name && name != ""
}
