package access

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
)

// plainEntry is an entry as it is written, and read word by word.
type plainEntry struct {
	patterns []string
	words    map[Action][]string
}

var plainGroups = map[string][]Subject{"staff": {"alice", "robot+ci"}, "ops": {"bob"}, "gone": {}}

func (e plainEntry) String() string {
	said := fmt.Sprintf("  - repositories: ['%s']\n", strings.Join(e.patterns, "', '"))
	for a, words := range e.words {
		said += fmt.Sprintf("    %s: ['%s']\n", a, strings.Join(words, "', '"))
	}
	return said
}

func plainText(entries []plainEntry) (text string) {
	for _, e := range entries {
		text += e.String()
	}
	return text
}

// plainMatch knows ** as any number of elements, none included.
func plainMatch(pattern, name []string) bool {
	switch {
	case len(pattern) == 0:
		return len(name) == 0
	case pattern[0] == "**":
		return plainMatch(pattern[1:], name) || len(name) > 0 && plainMatch(pattern, name[1:])
	case len(name) == 0:
		return false
	}
	ok, _ := path.Match(pattern[0], name[0])
	return ok && plainMatch(pattern[1:], name[1:])
}

// plainDecide is slow and as the rules are told: join the names, look at each pattern, then at each word.
func plainDecide(entries []plainEntry, who Subject, a Action, repo Repository) (d Decision) {
	for _, e := range entries {
		matches := func(p string) bool { return plainMatch(strings.Split(p, "/"), strings.Split(repo.String(), "/")) }
		if !slices.ContainsFunc(e.patterns, matches) {
			continue
		}
		for _, word := range append(slices.Clone(e.words[a]), e.words[Admin]...) {
			robot := strings.HasPrefix(string(who), "robot+")
			particular := word == string(who) || word == "robots" && robot || word == "users" && !robot && who != "" ||
				strings.HasPrefix(word, "@") && slices.Contains(plainGroups[word[1:]], who)
			d.Allowed = d.Allowed || particular || word == "everyone"
			d.Lent = d.Lent || particular
		}
		return d
	}
	return d
}

// dice write policies and ask about them.
type dice struct{ *rand.Rand }

var (
	diceElements = []string{"a", "b", "ab", "a-b", "gcr.io"}
	diceGlobs    = append([]string{"*", "**", "**", "a*", "?", "[ab]", "*b", "*-*"}, diceElements...)
	diceWords    = []string{"everyone", "users", "robots", "alice", "bob", "robot+ci", "robot+cd", "@staff", "@ops", "@gone"}
)

func (d dice) pick(from ...string) string { return from[d.IntN(len(from))] }

func (d dice) path(from []string, most int) string {
	var all []string
	for range 1 + d.IntN(most) {
		all = append(all, d.pick(from...))
	}
	return strings.Join(all, "/")
}

func (d dice) entries(firsts []string, may ...Action) (all []plainEntry) {
	for range 1 + d.IntN(4) {
		e := plainEntry{words: map[Action][]string{}}
		for range 1 + d.IntN(3) {
			e.patterns = append(e.patterns, strings.TrimPrefix(d.pick(firsts...)+"/"+d.path(diceGlobs, 3), "/"))
		}
		for _, a := range may {
			for range d.IntN(3) {
				e.words[a] = append(e.words[a], d.pick(diceWords...))
			}
		}
		all = append(all, e)
	}
	return all
}

func TestDecisionsAreThoseOfTheRules(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(1, 2))}
	hosts := []string{"docker.io", "gcr.io"}
	policies, answers := 0, map[Decision]int{}
	for range 3000 {
		hosted := d.entries([]string{"", "", "**", "a"}, Pull, Push, Delete, Admin)
		through := d.entries([]string{"**", "*", "*r.io", "docker.io", "gcr.io"}, Pull, Admin)
		text := "groups: {staff: [alice, robot+ci], ops: [bob], gone: []}\nhosted:\n" + plainText(hosted) + "upstream:\n" + plainText(through)
		p, err := ParsePolicy([]byte(text), true, hosts)
		if err != nil {
			continue // by chance, a pattern that people are warned of
		}
		policies++
		for range 30 {
			repo, entries := Repository{Name: d.path(diceElements, 4)}, hosted
			if d.IntN(2) == 0 {
				repo.Upstream, entries = d.pick(hosts...), through
			}
			who, a := Subject(d.pick("", "alice", "bob", "carol", "robot+ci", "robot+cd")), Action(d.IntN(int(actions)))
			got, want := p.Decide(who, a, repo), plainDecide(entries, who, a, repo)
			if got != want {
				t.Fatalf("%s, %s of %s: %+v, want %+v in\n%s", who, a, repo, got, want, text)
			}
			if told := p.Explain(who, a, repo); strings.HasPrefix(told, "allowed: ") != want.Allowed {
				t.Fatalf("%+v is explained as %q", want, told)
			}
			answers[want]++
		}
	}
	if policies < 500 || len(answers) != 3 || answers[Decision{Allowed: true}] < 500 {
		t.Errorf("%d policies, %v: that proves little", policies, answers)
	}
}

func FuzzPolicy(f *testing.F) {
	for _, text := range []string{wholePolicy, DefaultPolicyText, empties, "a: &a [*a]", "- @x", "? [a]\n: b", "a: !!binary x", "--- {}\n...\n---\n"} {
		f.Add([]byte(text), "team/a", "gcr.io", "latest")
	}
	f.Fuzz(func(t *testing.T, text []byte, name, host, ref string) {
		for _, users := range []bool{true, false} {
			p, err := ParsePolicy(text, users, testUpstreams)
			if (p == nil) == (err == nil) {
				t.Fatalf("%v and %v", p, err)
			}
			if err != nil {
				continue
			}
			for _, repo := range []Repository{{Name: name}, {Upstream: host, Name: name}} {
				for a := range actions {
					d := p.Decide("alice", a, repo)
					if told := p.Explain("alice", a, repo); strings.HasPrefix(told, "allowed: ") != d.Allowed || strings.Contains(told, "\n") {
						t.Errorf("%+v is explained as %q", d, told)
					}
				}
				if p.Decide("alice", Pull, repo).Allowed && !p.Any("alice", repo.Upstream == "") {
					t.Errorf("%s may be pulled, and there is none", repo)
				}
				if why := p.Refuses(repo, ref); strings.Contains(why, "\n") {
					t.Errorf("refused with %q", why)
				}
			}
		}
	})
}
