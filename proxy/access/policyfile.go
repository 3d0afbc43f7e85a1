package access

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

type node = yaml.Node

const (
	fieldRepositories = "repositories"
	fieldAllow        = "allow"
	fieldDeny         = "deny"
	fieldTags         = "tags"
	fieldBecause      = "because"
)

// policyReader reads nodes, so that each mistake has a line, and goes on after one.
type policyReader struct {
	upstreams []string
	groups    map[string][]Subject
	names     map[string]bool
	wrong     []policyMistake
}

type policyMistake struct {
	line int
	text string
}

func (r *policyReader) mistake(n *node, format string, args ...any) {
	r.wrong = append(r.wrong, policyMistake{n.Line, fmt.Sprintf(format, args...)})
}

func (r *policyReader) err() error {
	slices.SortStableFunc(r.wrong, func(a, b policyMistake) int { return cmp.Compare(a.line, b.line) })
	var all mistakes
	for _, m := range slices.Compact(r.wrong) {
		all.add(fmt.Errorf("line %d: %s", m.line, m.text))
	}
	return all.err()
}

// field is one of a mapping.
type field struct{ key, value *node }

// mapping gives the fields, of which several may have the same key.
func (r *policyReader) mapping(n *node, what string) []field {
	if n.Kind != yaml.MappingNode {
		r.mistake(n, "%s is not made of names with values, as in name: value", what)
		return nil
	}
	var all []field
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			r.mistake(key, "%s: a name is missing before the colon", what)
			continue
		}
		all = append(all, field{key, n.Content[i+1]})
	}
	return all
}

// fields gives the values of known ones by name.
func (r *policyReader) fields(n *node, what string, known ...string) map[string]*node {
	found := map[string]*node{}
	for _, f := range r.mapping(n, what) {
		switch name := f.key.Value; {
		case !slices.Contains(known, name):
			r.mistake(f.key, "%s has no %.255q, only %s", what, name, strings.Join(known, ", "))
		case found[name] != nil:
			r.mistake(f.key, "%s has %s twice", what, name)
		default:
			found[name] = f.value
		}
	}
	return found
}

// items gives the nodes of a list; none where there is no list.
func (r *policyReader) items(n *node, what string) []*node {
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.MappingNode && len(n.Content) > 0:
		r.mistake(n, "%s is no list: put \"- \" before the first name of each entry", what)
		return nil
	case n.Kind != yaml.SequenceNode:
		r.mistake(n, "%s is no list; an empty one is []", what)
		return nil
	}
	return n.Content
}

// list gives the nodes of a list of words.
func (r *policyReader) list(n *node, what string) []*node {
	if n != nil && n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value != "" {
		r.mistake(n, "%s is no list: write [%s]", what, asWritten(n))
		return nil
	}
	var words []*node
	for _, item := range r.items(n, what) {
		if r.word(item, what) {
			words = append(words, item)
		}
	}
	return words
}

// asWritten is the word with its quotes, where it has any.
func asWritten(n *node) string {
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		return fmt.Sprintf("%.255q", n.Value)
	}
	return fmt.Sprintf("%.255s", n.Value)
}

// word reports whether the node is one. Numbers and such are, as they were written.
func (r *policyReader) word(n *node, what string) bool {
	switch {
	case n.Kind != yaml.ScalarNode || n.Style&yaml.TaggedStyle != 0:
		r.mistake(n, "%s: a word is missing; whatever has brackets, braces or ! must be in quotes", what)
	case n.Value == "" || n.Tag == "!!null":
		r.mistake(n, "%s: a word is empty", what)
	default:
		return true
	}
	return false
}

// patterns gives those that can match; n is nil where the entry has none.
func (r *policyReader) patterns(entry, n *node, check func(string, []string) error) []*node {
	if n == nil || n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.mistake(entry, "the entry has no patterns of repositories")
		return nil
	}
	var good []*node
	for _, item := range r.list(n, "patterns of repositories") {
		if err := check(item.Value, r.upstreams); err != nil {
			r.mistake(item, "pattern %.255q: %v", item.Value, err)
			continue
		}
		good = append(good, item)
	}
	return good
}

// standing is a pattern of an entry further up.
type standing struct {
	line    int
	pattern string
	rule    *rule // of incoming
}

// shadowed finds patterns that never decide: whoever wrote them below a wider one believes that they do.
func (r *policyReader) shadowed(n *node, of *rule, before []standing) {
	for _, b := range before {
		if covers(b.pattern, n.Value) && (of == nil || b.rule.before(of)) {
			r.mistake(n, "pattern %q never matches: %s in line %d comes first", n.Value, b.pattern, b.line)
			return
		}
	}
}

func (r *policyReader) tooMany(n *node, section string, patterns int) bool {
	if patterns > maxPatterns {
		r.mistake(n, "%s has more than %d patterns", section, maxPatterns)
	}
	return patterns > maxPatterns
}

// policyDocument gives the root of the only document.
func policyDocument(text []byte) (*node, error) {
	if len(text) > maxPolicyText {
		return nil, fmt.Errorf("the policy has more than %d MiB", maxPolicyText>>20)
	}
	number := 0
	for line := range bytes.Lines(text) {
		if number++; !utf8.Valid(line) {
			return nil, fmt.Errorf("line %d: the policy is not UTF-8", number)
		}
	}
	var document, more node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) || err == nil && empty(document.Content[0]) {
		return nil, errors.New("line 1: the policy is empty; `entrepot policy default` prints one to start from")
	}
	if err == nil {
		err = decoder.Decode(&more)
	}
	switch {
	case err == nil:
		return nil, fmt.Errorf("line %d: a second document begins: a policy is one", more.Line)
	case !errors.Is(err, io.EOF):
		return nil, yamlMistake(text, err)
	}
	root := document.Content[0]
	return root, refuseAnchors(root)
}

func empty(root *node) bool {
	return root.Tag == "!!null" || root.Value == "" && len(root.Content) == 0
}

// refuseAnchors: what stands for them would have to be looked for elsewhere, and a few can stand for gigabytes.
func refuseAnchors(n *node) error {
	if n.Anchor != "" {
		return fmt.Errorf("line %d: &%s: a policy has no anchors", n.Line, n.Anchor)
	}
	var all []error
	for _, child := range n.Content {
		all = append(all, refuseAnchors(child))
	}
	return errors.Join(all...)
}

func unquotedMistake(line int, word string) error {
	return fmt.Errorf("line %d: write %s in quotes: \"%s\"; a word of YAML cannot begin with @ or *", line, word, word)
}

// yamlMistake adds what the parser does not tell: that of all mistakes it is the usual one, and where.
func yamlMistake(text []byte, err error) error {
	said := strings.TrimPrefix(err.Error(), "yaml: ")
	if line := firstTab(string(text), said); line > 0 {
		return fmt.Errorf("line %d: indent with blanks: YAML allows no tab there", line)
	}
	for _, usual := range []string{"cannot start any token", "alphabetic or numeric", "unknown anchor"} {
		if strings.Contains(said, usual) {
			if line, word := firstUnquoted(string(text), said); line > 0 {
				return unquotedMistake(line, word)
			}
		}
	}
	return fmt.Errorf("%s (the policy is not YAML from about there on)", said)
}

// firstTab looks for a tab before the first word of the line that the parser cannot read; 0: that is not the mistake.
func firstTab(text, said string) int {
	if !strings.Contains(said, "cannot start any token") {
		return 0
	}
	at, number := 1, 0
	_, _ = fmt.Sscanf(said, "line %d:", &at) // of the first line it is not told
	for l := range strings.Lines(text) {
		indent := l[:len(l)-len(strings.TrimLeft(l, " \t-"))]
		if number++; number == at && strings.Contains(indent, "\t") {
			return at
		}
	}
	return 0
}

// firstUnquoted looks for a word with @ or * before it, from the line on that the parser tells, if it tells any.
func firstUnquoted(text, said string) (line int, word string) {
	from := 0
	_, _ = fmt.Sscanf(said, "line %d:", &from) // it stays 0
	number := 0
	for l := range strings.Lines(text) {
		if number++; number < from {
			continue
		}
		l, _, _ = strings.Cut(" "+l, " #")
		for _, word := range strings.FieldsFunc(l, between) {
			if word[0] == '@' || word[0] == '*' {
				return number, word
			}
		}
	}
	return 0, ""
}

func between(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("[]{},", r) }
