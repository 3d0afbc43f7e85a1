package access

import (
	"fmt"
	"strings"
)

// Explain tells people in one line what Decide says, and which entry and words of the policy decided.
func (p *Policy) Explain(who Subject, a Action, repo Repository) string {
	if p.open {
		return "allowed: there are no users, and the policy only says what may come in"
	}
	e, f := p.find(&repo)
	if e == nil {
		section := sectionUpstream
		if repo.Upstream == "" {
			section = sectionHosted
		}
		return fmt.Sprintf("denied: no entry of %s matches", section)
	}
	return fmt.Sprintf("%s: line %d, %s: %s", e.verdict(who, a), e.line, f.pattern, e.explain(who, a))
}

// Summary tells people how much the policy says.
func (p *Policy) Summary() string {
	if p.open {
		return fmt.Sprintf("rules of what comes in: %d", len(p.incoming))
	}
	return fmt.Sprintf("entries of hosted: %d, of upstream: %d, rules of what comes in: %d", len(p.hosted), len(p.upstream), len(p.incoming))
}

func (e *entry) verdict(who Subject, a Action) string {
	if e.decide(who, a).Allowed {
		return "allowed"
	}
	return "denied"
}

func (e *entry) explain(who Subject, a Action) string {
	if a >= actions {
		return "there is no such action"
	}
	if word, ok := e.rights[a].word(who); ok {
		return fmt.Sprintf("%s is for %s", a, wordFor(word, who))
	}
	if word, ok := e.rights[Admin].word(who); ok {
		return fmt.Sprintf("%s includes %s, and is for %s", Admin, a, wordFor(word, who))
	}
	said := fmt.Sprintf("%s is for %s", a, e.rights[a].people())
	if a != Admin && len(e.rights[Admin].words) > 0 {
		said += fmt.Sprintf(", %s for %s", Admin, e.rights[Admin].people())
	}
	return said
}

// wordFor adds whom the word stands for, unless it is their name.
func wordFor(word string, who Subject) string {
	if word == string(who) {
		return word
	}
	return fmt.Sprintf("%s (%s)", word, who)
}

func (r *right) people() string {
	if len(r.words) == 0 {
		return "nobody"
	}
	return strings.Join(r.words, ", ")
}
