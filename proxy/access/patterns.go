package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

const (
	maxPattern = 512 // bytes; a repository's name has at most 255
	dockerHub  = "docker.io"
	wildcards  = "*?["
)

// form is a pattern of repositories, split so that a repository is compared without joining its upstream and its name. Some
// patterns have several forms.
type form struct {
	pattern string // as it was written
	host    string // the upstream; empty: hosted here
	wild    bool   // host is a glob
	name    glob
}

// glob is one of names or tags, with what each that it matches begins and ends with: most are told apart by that.
type glob struct{ text, prefix, suffix string }

func newGlob(text string) glob { return glob{text, literalPrefix(text), literalSuffix(text)} }

func (g *glob) matches(s string) bool {
	return strings.HasPrefix(s, g.prefix) && strings.HasSuffix(s, g.suffix) && (g.text == "**" || doublestar.MatchUnvalidated(g.text, s))
}

// newForms splits the name. That ** at the end matches no element, doublestar does not see after a star: with two forms
// team*/** matches team as team/** does.
func newForms(pattern, host string, wild bool, name string) []form {
	for strings.HasSuffix(name, "/**/**") {
		name = strings.TrimSuffix(name, "/**")
	}
	all := []form{{pattern, host, wild, newGlob(name)}}
	if folder, ok := strings.CutSuffix(name, "*/**"); ok {
		all = append(all, form{pattern, host, wild, newGlob(folder + "*")})
	}
	return all
}

// literalPrefix is what every name begins with that the glob matches.
func literalPrefix(glob string) string {
	if i := strings.IndexAny(glob, wildcards); i >= 0 {
		return strings.TrimSuffix(glob[:i], "/") // team/** matches team too
	}
	return glob
}

// literalSuffix is what every name ends with that the glob matches.
func literalSuffix(glob string) string {
	return strings.TrimPrefix(glob[strings.LastIndexAny(glob, "*?]")+1:], "/") // **/app matches app too
}

// upstreamForms are those of a pattern whose first element is for the upstream. rest is the pattern without what ** at its
// beginning has matched already.
func upstreamForms(pattern, rest string, upstreams []string) []form {
	host, name, _ := strings.Cut(rest, "/")
	switch {
	case rest == "**":
		return newForms(pattern, "*", true, "**")
	case name == "":
		return nil // a host alone is no repository
	case host == "**": // it matches the host and more, or nothing
		return append(newForms(pattern, "*", true, rest), upstreamForms(pattern, name, upstreams)...)
	}
	wild := strings.ContainsAny(host, wildcards) && !slices.Contains(upstreams, host)
	return newForms(pattern, host, wild, name)
}

func (f *form) matches(repo *Repository) bool {
	switch {
	case !f.wild && f.host != repo.Upstream:
		return false
	case f.wild && f.host != "*" && !doublestar.MatchUnvalidated(f.host, repo.Upstream):
		return false
	}
	return f.name.matches(repo.Name)
}

// matching gives the first form that matches.
func matching(forms []form, repo *Repository) *form {
	for i := range forms {
		if forms[i].matches(repo) {
			return &forms[i]
		}
	}
	return nil
}

// covers reports whether whatever the later pattern matches is matched by the earlier one. It knows the cases that people
// write by mistake, not all there are.
func covers(earlier, later string) bool {
	if earlier == later || earlier == "**" {
		return true
	}
	if !strings.ContainsAny(later, wildcards) {
		return doublestar.MatchUnvalidated(earlier, later)
	}
	folder, all := strings.CutSuffix(earlier, "/**")
	return all && !strings.ContainsAny(folder, wildcards) && strings.HasPrefix(later, folder+"/")
}

// checkHosted fails on a pattern that cannot be of repositories that are hosted here.
func checkHosted(pattern string, upstreams []string) error {
	if first, _, _ := strings.Cut(pattern, "/"); slices.Contains(upstreams, first) {
		return fmt.Errorf("%s is an upstream, and its repositories are not hosted here: they belong to `upstream`", first)
	}
	return checkGlob(pattern, nameCharacter)
}

// checkUpstream fails on a pattern that cannot be of an upstream's repositories.
func checkUpstream(pattern string, upstreams []string) error {
	first, rest, slash := strings.Cut(pattern, "/")
	known := slices.Contains(upstreams, first)
	switch {
	case pattern == "**":
		return nil
	case !known && !strings.ContainsAny(first, wildcards):
		return fmt.Errorf("it begins with no configured upstream (%s)", orNone(upstreams))
	case !slash || rest == "":
		return fmt.Errorf("it is only an upstream, and matches no repository: %s/** matches all of them", first)
	case first == dockerHub && !strings.Contains(rest, "/") && rest != "**":
		return fmt.Errorf("repositories of Docker Hub have two elements: %s/library/%s is one of its own images", dockerHub, rest)
	}
	if !known {
		if err := checkGlob(first, hostCharacter); err != nil {
			return err
		}
	}
	return checkGlob(rest, nameCharacter)
}

func orNone(upstreams []string) string {
	if len(upstreams) == 0 {
		return "there is none"
	}
	return strings.Join(upstreams, ", ")
}

// checkGlob fails on what doublestar refuses, and on what it takes and people misread.
func checkGlob(pattern string, allowed func(rune) error) error {
	if len(pattern) > maxPattern {
		return fmt.Errorf("it has more than %d bytes", maxPattern)
	}
	if err := checkCharacters(pattern, allowed); err != nil {
		return err
	}
	for element := range strings.SplitSeq(pattern, "/") {
		switch {
		case element == "":
			return errors.New("it begins or ends with a slash, or has two in a row")
		case element != "**" && strings.Contains(element, "**"):
			return errors.New("** stands alone between slashes; * is a part of one element")
		}
	}
	return nil
}

// checkTag fails on a pattern that cannot be of tags.
func checkTag(pattern string) error {
	switch {
	case len(pattern) > maxPattern:
		return fmt.Errorf("it has more than %d bytes", maxPattern)
	case strings.Contains(pattern, "**"):
		return errors.New("tags have no elements that ** could match: write *")
	}
	return checkCharacters(pattern, tagCharacter)
}

// checkCharacters looks at those outside of brackets with allowed. Escapes and braces are refused: no name needs the first,
// and each alternative of the second would be joined anew for every request.
func checkCharacters(pattern string, allowed func(rune) error) error {
	if strings.ContainsAny(pattern, `\{}`) {
		return errors.New(`\, { and } mean nothing here: write a pattern for each`)
	}
	if !doublestar.ValidatePattern(pattern) {
		return errors.New("its brackets are empty or not closed")
	}
	for i := 0; i < len(pattern); i++ {
		switch c, _ := utf8.DecodeRuneInString(pattern[i:]); c {
		case '*', '?':
		case '[':
			class := pattern[i : i+strings.IndexByte(pattern[i:], ']')+1] // there is one: the pattern is valid
			if strings.Contains(class, "/") || allowed('/') == nil && doublestar.MatchUnvalidated(class, "/") {
				return fmt.Errorf("%s matches a slash too, as every [!...] does", class)
			}
			i += len(class) - 1
		default:
			if err := allowed(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func nameCharacter(c rune) error {
	switch {
	case isLowerAlnum(c), strings.ContainsRune("._-/", c):
		return nil
	case c == ':':
		return errors.New("it has a colon, and names of repositories have none: tags are matched by `tags` in `incoming`")
	case c >= 'A' && c <= 'Z':
		return errors.New("names of repositories have no upper-case letters")
	}
	return fmt.Errorf("names of repositories have no %q", c)
}

// hostCharacter allows the colon before a port.
func hostCharacter(c rune) error {
	if c == ':' {
		return nil
	}
	return nameCharacter(c)
}

func tagCharacter(c rune) error {
	if isLowerAlnum(c) || c >= 'A' && c <= 'Z' || strings.ContainsRune("._-", c) {
		return nil
	}
	return fmt.Errorf("tags have no %q", c)
}

func isLowerAlnum(c rune) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
