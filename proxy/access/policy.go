package access

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	maxPolicyText = 1 << 20
	maxPatterns   = 1000 // of a section: a request may look at all of them
	maxBecause    = 200  // bytes
)

// The sections of a policy.
const (
	sectionGroups   = "groups"
	sectionHosted   = "hosted"
	sectionUpstream = "upstream"
	sectionIncoming = "incoming"
)

// DefaultPolicyText is the policy that holds where there are users and no file. It is a file to start from.
//
//go:embed default.yaml
var DefaultPolicyText string

// Policy says who may do what with which repositories, and what may come in from upstreams. It never changes.
type Policy struct {
	open     bool // there are no users: everybody may do everything
	hosted   []entry
	upstream []entry
	incoming []rule
	names    []string
}

// DefaultPolicy is the one that holds without a file, with users or without.
func DefaultPolicy(users bool) *Policy {
	if !users {
		return &Policy{open: true}
	}
	p, err := ParsePolicy([]byte(DefaultPolicyText), users, nil)
	if err != nil {
		panic(fmt.Sprintf("the policy that is built in: %v", err)) // a test reads it
	}
	return p
}

// Names gives the users, but not the robots, that the policy speaks of, sorted.
func (p *Policy) Names() []string { return slices.Clone(p.names) }

// ParsePolicy reads a policy file. Its error holds every mistake with its line. users: there are some, so the policy says who
// they are to be; without them it only says what may come in. upstreams are the hosts that it may name.
func ParsePolicy(text []byte, users bool, upstreams []string) (*Policy, error) {
	root, err := policyDocument(text)
	if err != nil {
		return nil, err
	}
	r := &policyReader{upstreams: upstreams, groups: map[string][]Subject{}, names: map[string]bool{}}
	p := &Policy{open: !users}
	r.policy(p, root)
	if err := r.err(); err != nil {
		return nil, err
	}
	p.names = slices.Sorted(maps.Keys(r.names))
	return p, nil
}

// CheckedPolicy is ParsePolicy for a server on which names are hosted as hosted says: see CheckHosted.
func CheckedPolicy(text []byte, users bool, upstreams []string, hosted func(first string) bool) (*Policy, error) {
	p, err := ParsePolicy(text, users, upstreams)
	if err != nil {
		return nil, err
	}
	return p, p.CheckHosted(hosted)
}

// CheckHosted fails on each pattern of hosted repositories whose first element is never hosted, by what hosted says of it:
// the entry would never decide, and whoever wrote it believes that it does.
func (p *Policy) CheckHosted(hosted func(first string) bool) error {
	var wrong mistakes
	told := map[string]bool{}
	for _, e := range p.hosted {
		for _, f := range e.forms {
			first, _, several := strings.Cut(f.pattern, "/")
			if !several || strings.ContainsAny(first, wildcards) || hosted(first) || told[f.pattern] {
				continue
			}
			told[f.pattern] = true
			wrong.add(fmt.Errorf("line %d: pattern %q: names that begin with %s/ are the default upstream's, and nothing of them is hosted here: set ENTREPOT_HOSTED=%s", e.line, f.pattern, first, first))
		}
	}
	return wrong.err()
}

// policy reads groups first: they may stand below those who name them.
func (r *policyReader) policy(p *Policy, root *node) {
	sections := r.fields(root, "a policy", sectionGroups, sectionHosted, sectionUpstream, sectionIncoming)
	if p.open {
		for _, name := range []string{sectionGroups, sectionHosted, sectionUpstream} {
			if n := sections[name]; n != nil {
				r.mistake(n, "%s: there are no users, so everybody may pull, and the policy only has %s; ENTREPOT_HTPASSWD names a file of users", name, sectionIncoming)
			}
		}
		p.incoming = r.incoming(sections[sectionIncoming])
		return
	}
	r.readGroups(sections[sectionGroups])
	for _, name := range []string{sectionHosted, sectionUpstream} {
		if sections[name] == nil {
			r.mistake(root, "%s is missing, and without it nobody may do anything there: write %s: [] if that is meant; `entrepot policy default` prints what holds without a file", name, name)
		}
	}
	p.hosted = r.entries(sections[sectionHosted], sectionHosted, checkHosted, Pull, Push, Delete, Admin)
	p.upstream = r.entries(sections[sectionUpstream], sectionUpstream, checkUpstream, Pull, Admin)
	p.incoming = r.incoming(sections[sectionIncoming])
}

func (r *policyReader) readGroups(n *node) {
	if n == nil {
		return
	}
	for _, f := range r.mapping(n, sectionGroups) {
		name := f.key.Value
		switch {
		case r.groups[name] != nil:
			r.mistake(f.key, "there are two groups %q", name)
			continue
		case name == "" || strings.HasPrefix(name, "@"):
			r.mistake(f.key, "a group's name is not empty, and has no @ where its members are listed: %q", name)
		case reservedName(name):
			r.mistake(f.key, "a group cannot be named %s: that means something else", name)
		}
		members := []Subject{}
		for _, member := range r.list(f.value, "the group "+name) {
			if who, ok := r.subject(member); ok {
				members = append(members, who)
			}
		}
		r.groups[name] = members
	}
}

// subject is a user or a robot.
func (r *policyReader) subject(n *node) (Subject, bool) {
	word := n.Value
	if robot, ok := Subject(word).Robot(); ok {
		if !isRobotName(robot) {
			r.mistake(n, "%.255q is no robot: %s stands before its name", word, robotPrefix)
			return "", false
		}
		return Subject(word), true
	}
	if err := checkUserName(word); err != nil {
		r.mistake(n, "%.255q is no user: %v", word, err)
		return "", false
	}
	r.names[word] = true
	return Subject(word), true
}

// entries reads hosted or upstream.
func (r *policyReader) entries(n *node, section string, check func(string, []string) error, may ...Action) []entry {
	known := []string{fieldRepositories}
	for _, a := range may {
		known = append(known, a.String())
	}
	var all []entry
	var before []standing
	for _, item := range r.items(n, section) {
		fields := r.fields(item, "an entry of "+section, known...)
		e := entry{line: item.Line}
		patterns := r.patterns(item, fields[fieldRepositories], check)
		if r.tooMany(item, section, len(before)+len(patterns)) {
			break
		}
		for _, p := range patterns {
			r.shadowed(p, nil, before)
			e.forms = append(e.forms, r.forms(p.Value, section)...)
		}
		for _, a := range may {
			e.rights[a] = r.right(fields[a.String()], a)
		}
		for _, p := range patterns {
			before = append(before, standing{line: item.Line, pattern: p.Value})
		}
		all = append(all, e)
	}
	return all
}

func (r *policyReader) forms(pattern, section string) []form {
	if section == sectionHosted {
		return newForms(pattern, "", false, pattern)
	}
	return upstreamForms(pattern, pattern, r.upstreams)
}

// right reads who has it.
func (r *policyReader) right(n *node, a Action) right {
	has := right{named: map[Subject]string{}}
	if n == nil {
		return has
	}
	for _, item := range r.list(n, a.String()) {
		word := item.Value
		has.words = append(has.words, word)
		group, isGroup := strings.CutPrefix(word, "@")
		switch {
		case word == wordEveryone:
			has.everyone = true
		case word == wordUsers:
			has.users = true
		case word == wordRobots:
			has.robots = true
		case isGroup:
			members, ok := r.groups[group]
			if !ok {
				r.mistake(item, "there is no group %.255q", group)
			}
			has.name(word, members...)
		default:
			if who, ok := r.subject(item); ok {
				has.name(word, who)
			}
		}
	}
	return has
}

// name keeps the first word that stands for somebody.
func (r *right) name(word string, whom ...Subject) {
	for _, who := range whom {
		if _, ok := r.named[who]; !ok {
			r.named[who] = word
		}
	}
}
