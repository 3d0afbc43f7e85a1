package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

const (
	maxUsersText = 4 << 20
	maxUserName  = 128
	maxCost      = 14 // of a hash; each more doubles the time of a login, which takes seconds from there on
	toldMistakes = 100
)

// users are those of an htpasswd file. They never change.
type users struct {
	byName  map[string]user
	cost    int                               // the highest of all
	compare func(hash, password []byte) error // nil: it is the password's hash
}

type user struct {
	hash []byte
	cost int
	mark string
}

// parseUsers reads an htpasswd file, which may be empty. Its error holds every mistake with its line and nothing of any hash.
func parseUsers(text []byte) (*users, error) {
	if len(text) > maxUsersText {
		return nil, fmt.Errorf("there are more than %d MiB of users", maxUsersText>>20)
	}
	u := &users{byName: map[string]user{}, compare: bcrypt.CompareHashAndPassword}
	first := map[string]int{} // the line of each user
	var wrong mistakes
	number := 0
	for line := range bytes.Lines(text) {
		number++
		name, hash, empty := splitUser(line)
		if empty {
			continue
		}
		if err := u.add(name, hash); err != nil {
			wrong.add(fmt.Errorf("line %d: %w", number, err))
			continue
		}
		if first[name] != 0 {
			wrong.add(fmt.Errorf("line %d: user %q is on line %d too", number, name, first[name]))
			continue
		}
		first[name] = number
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	if len(u.byName) == 0 {
		u.cost = bcrypt.DefaultCost
	}
	return u, nil
}

// UserNames gives whom an htpasswd file names, sorted. Its error holds every mistake with its line, as that of a start.
func UserNames(text []byte) ([]string, error) {
	u, err := parseUsers(text)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(u.byName)), nil
}

// splitUser reads one line. empty: it is blank, or a comment. Without a colon there is no name: it may be the rest of a hash.
func splitUser(line []byte) (name, hash string, empty bool) {
	text := strings.TrimSpace(string(line))
	if text == "" || text[0] == '#' {
		return "", "", true
	}
	name, hash, found := strings.Cut(text, ":")
	if !found {
		return "", "", false
	}
	return name, hash, false
}

func (u *users) add(name, hash string) error {
	if name == "" {
		return errors.New("there is no user name with a colon after it")
	}
	if err := checkUserName(name); err != nil {
		return err // without the name: where the halves of a line are swapped, that is the hash
	}
	cost, err := bcryptCost(hash)
	if err != nil {
		return fmt.Errorf("user %q: %w", name, err)
	}
	u.byName[name] = user{hash: []byte(hash), cost: cost, mark: markOf(name + ":" + hash)}
	u.cost = max(u.cost, cost)
	return nil
}

// checkUserName fails on what can be no user's name. Its error does not hold the name, unless that is a reserved word.
func checkUserName(name string) error {
	invisible := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case name == "":
		return errors.New("the user name is empty")
	case len(name) > maxUserName:
		return fmt.Errorf("the user name has more than %d bytes", maxUserName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, invisible) || strings.TrimSpace(name) != name:
		return errors.New("the user name has control characters, other invisible ones, or a blank at its end")
	case strings.Contains(name, ":"):
		return errors.New("the user name has a colon")
	case strings.ContainsRune("#@${", rune(name[0])):
		return errors.New("the user name begins with #, @, $ or {")
	case reservedName(name):
		return fmt.Errorf("the user name %s is reserved: policies mean something else by it", name)
	}
	return nil
}

// reservedName tells what policies mean something by, so that no user can have it.
func reservedName(name string) bool {
	switch name {
	case "everyone", "users", "robots", "anonymous":
		return true
	}
	return strings.HasPrefix(name, robotPrefix) || strings.HasPrefix(name, secretPrefix) || strings.HasPrefix(name, "@")
}

// bcryptCost checks a hash as far as it can be without the password. bcrypt itself looks at less, and later.
func bcryptCost(hash string) (int, error) {
	if len(hash) < 4 || hash[:2] != "$2" || !strings.Contains("aby", hash[2:3]) || hash[3] != '$' {
		return 0, errors.New("the password is not hashed by bcrypt; make a line with `entrepot htpasswd`")
	}
	damaged := errors.New("the hash is cut short or damaged; make a line with `entrepot htpasswd`")
	if len(hash) != len("$2b$10$")+len(noHash) || hash[6] != '$' || strings.ContainsFunc(hash[7:], notOfBcrypt) {
		return 0, damaged
	}
	cost, err := strconv.ParseUint(hash[4:6], 10, 8)
	switch {
	case err != nil || cost < uint64(bcrypt.MinCost):
		return 0, damaged // whatever err says would show a part of it
	case cost > maxCost:
		return 0, fmt.Errorf("the cost of the hash is above %d: one login would take seconds", maxCost)
	}
	return int(cost), nil
}

func notOfBcrypt(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '/'
}

// noHash is salt and hash of no known password.
const noHash = "abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"

// nobody has a password that takes as long as any of that cost.
func nobody(cost int) user {
	return user{hash: fmt.Appendf(nil, "$2b$%02d$%s", cost, noHash), cost: cost}
}

// check reports whether that is the user's password. That it is not takes the same work for every name, known or not: that
// of the highest cost. A hash of cost c is 2^c rounds; others of c, c+1 and so on below the highest make up for the rest.
func (u *users) check(name, password string) bool {
	found, known := u.byName[name]
	if !known {
		found = nobody(u.cost)
	}
	right := u.compare(found.hash, []byte(password)) == nil
	if known && right && password != "" {
		return true
	}
	for cost := found.cost; cost < u.cost; cost++ {
		_ = u.compare(nobody(cost).hash, []byte(password))
	}
	return false
}

// mark tells one password of a user from the next. It may be shown: salt and hash cannot be had back from it.
func (u *users) mark(name string) (mark string, ok bool) {
	found, ok := u.byName[name]
	return found.mark, ok
}

// has reports whether there is such a user.
func (u *users) has(name string) bool {
	_, ok := u.byName[name]
	return ok
}

// markOf is 72 bits of the hash of what a login is checked against.
func markOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// mistakes keeps as many as somebody reads, and counts the others: a wrong file may be nothing but mistakes.
type mistakes struct {
	told []error
	more int
}

func (m *mistakes) add(err error) {
	if len(m.told) == toldMistakes {
		m.more++
		return
	}
	m.told = append(m.told, err)
}

func (m *mistakes) err() error {
	if m.more > 0 {
		return errors.Join(append(m.told, fmt.Errorf("and %d more", m.more))...)
	}
	return errors.Join(m.told...)
}
