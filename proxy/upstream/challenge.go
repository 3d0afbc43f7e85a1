package upstream

import "strings"

// challenge is one challenge of a WWW-Authenticate header (RFC 9110, 11.6.1) with the parameters that registries use.
type challenge struct {
	scheme                string // lower case
	realm, service, scope string
}

// chooseChallenge takes the first Bearer challenge of an answer, else the first Basic one.
func chooseChallenge(headers []string) (challenge, bool) {
	var all []challenge
	for _, h := range headers {
		all = append(all, parseChallenges(h)...)
	}
	for _, scheme := range []string{"bearer", "basic"} {
		for _, c := range all {
			if c.scheme == scheme {
				return c, true
			}
		}
	}
	return challenge{}, false
}

// parseChallenges reads a header that may hold several challenges. A word that no "=" follows begins the next one.
// Where the header breaks the grammar, what came before counts.
func parseChallenges(header string) []challenge {
	var all []challenge
	for rest := header; ; {
		word, after := cutToken(strings.TrimLeft(rest, " \t,"))
		if word == "" {
			return all
		}
		value, assigned := strings.CutPrefix(strings.TrimLeft(after, " \t"), "=")
		if !assigned {
			all = append(all, challenge{scheme: strings.ToLower(word)})
			rest = after
			continue
		}
		v, after, ok := cutValue(strings.TrimLeft(value, " \t"))
		if !ok || len(all) == 0 {
			return all
		}
		all[len(all)-1].set(strings.ToLower(word), v)
		rest = after
	}
}

// set keeps the first value of a parameter.
func (c *challenge) set(name, value string) {
	field := map[string]*string{"realm": &c.realm, "service": &c.service, "scope": &c.scope}[name]
	if field != nil && *field == "" {
		*field = value
	}
}

func cutToken(s string) (token, rest string) {
	end := strings.IndexFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c))
	})
	if end < 0 {
		return s, ""
	}
	return s[:end], s[end:]
}

// cutValue takes a token or a quoted string off s. A bare URL, which some registries send unquoted, ends at a comma or blank.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, " \t,")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}
