package access

import (
	"fmt"
	"slices"
	"strings"
)

const (
	scopeRepository = "repository"
	scopeRegistry   = "registry"
	scopeCatalog    = "catalog"
	everyAction     = "*"

	maxGrants    = 32
	maxScopeName = 255
	shownScope   = 100 // bytes of a malformed one, in its error
)

// Grant is what a token was asked for of one resource, as the token specification of distribution writes it.
type Grant struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// ScopeError says what is malformed in the scopes of a request. Its message is for the client.
type ScopeError struct{ message string }

func (e *ScopeError) Error() string { return e.message }

func scopeError(scope, format string, args ...any) *ScopeError {
	return &ScopeError{fmt.Sprintf("scope %s: ", shown(scope)) + fmt.Sprintf(format, args...)}
}

// shown is the beginning of what a client sent, harmless to print.
func shown(s string) string {
	s, rest := s[:min(len(s), shownScope)], len(s) > shownScope
	printable := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' {
			return '?'
		}
		return r
	}, s)
	if rest {
		return `"` + printable + `..."`
	}
	return `"` + printable + `"`
}

// parseScopes reads scopes, each with several separated by blanks. What nothing here can be asked for is left out, and is no
// mistake: clients ask for kinds and actions of other registries too (metadata_read), and a token may be for less than was
// asked. The others come in the order of their first mention, once each, with sorted actions. The error is a *ScopeError.
func parseScopes(scopes []string) ([]Grant, error) {
	var grants []Grant
	for _, several := range scopes {
		for scope := range strings.FieldsSeq(several) {
			g, err := parseScope(scope)
			if err != nil {
				return nil, err
			}
			if len(g.Actions) > 0 {
				grants = mergeGrant(grants, g)
			}
			if len(grants) > maxGrants {
				return nil, scopeError(scope, "there are more than %d; ask for several tokens", maxGrants)
			}
		}
	}
	return grants, nil
}

// parseScope reads type[(class)]:name:action,action. A name may begin with a host and its port, so that the last colon ends it.
func parseScope(scope string) (Grant, error) {
	kind, rest, _ := strings.Cut(scope, ":")
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 {
		return Grant{}, scopeError(scope, "it is not type:name:actions")
	}
	name, asked := rest[:colon], rest[colon+1:]
	if open := strings.IndexByte(kind, '('); open >= 0 && strings.HasSuffix(kind, ")") && isWord(kind[open+1:len(kind)-1]) {
		kind = kind[:open]
	}
	switch {
	case !isWord(kind):
		return Grant{}, scopeError(scope, "its type is not of letters and digits")
	case len(name) > maxScopeName:
		return Grant{}, scopeError(scope, "its name has more than %d bytes", maxScopeName)
	case !isScopeName(name):
		return Grant{}, scopeError(scope, "its name is no name of a repository")
	}
	g := Grant{Type: kind, Name: name}
	for action := range strings.SplitSeq(asked, ",") {
		if action != "" && action != everyAction && !isWord(action) {
			return Grant{}, scopeError(scope, "its actions are not words between commas")
		}
		if canBeAsked(kind, name, action) && !slices.Contains(g.Actions, action) {
			g.Actions = append(g.Actions, action)
		}
	}
	slices.Sort(g.Actions)
	return g, nil
}

// canBeAsked reports whether a token can be for that at all. Who may administer a repository asks for every action.
func canBeAsked(kind, name, action string) bool {
	switch kind {
	case scopeRepository:
		a, known := ParseAction(action)
		return action == everyAction || known && a != Admin
	case scopeRegistry:
		return name == scopeCatalog && action == everyAction
	}
	return false
}

func mergeGrant(grants []Grant, g Grant) []Grant {
	for i, known := range grants {
		if known.Type == g.Type && known.Name == g.Name {
			all := append(known.Actions, g.Actions...)
			slices.Sort(all)
			grants[i].Actions = slices.Compact(all)
			return grants
		}
	}
	return append(grants, g)
}

// isWord tells a type, class or action of any registry.
func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isLetterOrDigit(r) && !strings.ContainsRune("-_.", r) })
}

// isScopeName tells what may be a repository's name, with or without a host, from what is none at all.
func isScopeName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isLetterOrDigit(r) && !strings.ContainsRune("-_./:[]", r) })
}

func isLetterOrDigit(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// covers reports whether that may be done with what was asked for. spelled is the repository as the client writes it.
func (g *Grant) covers(spelled string, a Action) bool {
	if g.Type != scopeRepository || g.Name != spelled {
		return false
	}
	return slices.Contains(g.Actions, everyAction) || a != Admin && slices.Contains(g.Actions, a.String())
}

// catalogCovered reports whether the list of repositories was asked for.
func catalogCovered(grants []Grant) bool {
	return slices.ContainsFunc(grants, func(g Grant) bool {
		return g.Type == scopeRegistry && g.Name == scopeCatalog && slices.Contains(g.Actions, everyAction)
	})
}
