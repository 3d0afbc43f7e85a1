package access

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// rule says whether repositories, or some of their tags, come in from upstreams.
type rule struct {
	line  int
	allow bool
	forms []form
	tags  []glob // none: every tag
	why   string // of a refusal
}

// Refuses tells why the policy keeps that out, whoever asks; empty: it comes in. ref is a tag, a digest, or empty for the
// repository as such.
func (p *Policy) Refuses(repo Repository, ref string) (why string) {
	if repo.Upstream == "" {
		return "" // it does not come from anywhere
	}
	for i := range p.incoming {
		r := &p.incoming[i]
		if r.meets(ref) && matching(r.forms, &repo) != nil {
			return r.why
		}
	}
	return ""
}

// meets: whoever pulls by digest has been given that digest, so what is said of tags keeps it neither out nor from an entry
// that lets it in.
func (r *rule) meets(ref string) bool {
	if len(r.tags) == 0 {
		return true
	}
	if ref == "" || strings.IndexByte(ref, ':') >= 0 {
		return r.allow
	}
	for i := range r.tags {
		if r.tags[i].matches(ref) {
			return true
		}
	}
	return false
}

// before reports whether every reference that the later rule meets is met by this one, where both match the repository.
func (r *rule) before(later *rule) bool {
	if len(r.tags) == 0 {
		return true
	}
	unknown := func(t glob) bool { return !slices.Contains(r.tags, t) }
	return len(later.tags) > 0 && !slices.ContainsFunc(later.tags, unknown) && (r.allow || !later.allow)
}

// incoming reads the section of that name.
func (r *policyReader) incoming(n *node) []rule {
	var all []rule
	var before []standing // patterns
	for _, item := range r.items(n, sectionIncoming) {
		fields := r.fields(item, "an entry of "+sectionIncoming, fieldAllow, fieldDeny, fieldTags, fieldBecause)
		next := rule{line: item.Line, allow: fields[fieldAllow] != nil}
		if next.allow == (fields[fieldDeny] != nil) {
			r.mistake(item, "an entry of %s has either %s or %s", sectionIncoming, fieldAllow, fieldDeny)
			continue
		}
		next.tags, next.why = r.tags(fields[fieldTags]), r.because(&next, fields[fieldBecause])
		patterns := r.patterns(item, cmp.Or(fields[fieldAllow], fields[fieldDeny]), checkUpstream)
		if r.tooMany(item, sectionIncoming, len(before)+len(patterns)) {
			break
		}
		for _, p := range patterns {
			r.shadowed(p, &next, before)
			next.forms = append(next.forms, upstreamForms(p.Value, p.Value, r.upstreams)...)
		}
		for _, p := range patterns {
			before = append(before, standing{line: item.Line, pattern: p.Value, rule: &next})
		}
		all = append(all, next)
	}
	return all
}

func (r *policyReader) tags(n *node) []glob {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.mistake(n, "%s is empty, so that the entry has none: leave it out where every tag is meant", fieldTags)
	}
	var all []glob
	for _, item := range r.list(n, fieldTags) {
		if err := checkTag(item.Value); err != nil {
			r.mistake(item, "tag %.255q: %v", item.Value, err)
			continue
		}
		all = append(all, newGlob(item.Value))
	}
	return all
}

// because gives what a refusal says. It goes to clients and into logs, so it is one short line.
func (r *policyReader) because(of *rule, n *node) string {
	why := fmt.Sprintf("line %d of the policy", of.line)
	switch {
	case of.allow && n != nil:
		r.mistake(n, "%s says why something is kept out, and %s keeps nothing out", fieldBecause, fieldAllow)
	case of.allow:
	case n == nil || !r.word(n, fieldBecause):
		return why
	case len(n.Value) > maxBecause || strings.ContainsFunc(n.Value, func(c rune) bool { return !unicode.IsPrint(c) }):
		r.mistake(n, "%s is one line of at most %d bytes", fieldBecause, maxBecause)
	default:
		return why + ": " + n.Value
	}
	return ""
}
