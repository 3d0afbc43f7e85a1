package access

import (
	"slices"
	"strings"
	"testing"
)

var testUpstreams = []string{"docker.io", "gcr.io", "[::1]:5000"}

// parsePolicy reads a policy of a server with users.
func parsePolicy(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(text), true, testUpstreams)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const wholePolicy = `# a comment
groups:
  staff: [alice, bob, robot+ci]
  nobody: []
hosted:
  - repositories: [team/**, my-image]
    pull: [everyone]
    push: ["@staff"]
    delete: [alice]
    admin: [carol]
  - repositories: ["**"]
    pull: [users]
upstream:
  - repositories: [gcr.io/corp-*/**]
    pull: ["@staff", '@nobody']
    admin: []
  - repositories: ["*:5000/x", "[::1]:5000/y"]
  - repositories: ["**"]
    pull: [everyone, users, robots]
incoming:
  - deny: ["docker.io/*/xmrig"]
    because: miners
  - deny: ["docker.io/**"]
    tags: [latest, "*-beta*", 1.10, "[!v]*"]
  - allow: [docker.io/library/**, gcr.io/distroless/**]
  - deny: ["**"]
`

func TestAWholePolicyIsRead(t *testing.T) {
	p := parsePolicy(t, wholePolicy)
	if got, want := p.Names(), []string{"alice", "bob", "carol"}; !slices.Equal(got, want) {
		t.Errorf("names: %q, want %q", got, want)
	}
	for i, want := range []int{6, 11} {
		if got := p.hosted[i].line; got != want {
			t.Errorf("entry %d of hosted is on line %d, want %d", i, got, want)
		}
	}
	p.Names()[0] = "mallory"
	if p.Names()[0] != "alice" {
		t.Error("whoever asks for the names can change them")
	}
}

func TestTheDefaultPolicyIsAFileToStartFrom(t *testing.T) {
	commented := 0
	var lines []string
	for line := range strings.Lines(DefaultPolicyText) {
		for _, begin := range []string{"# groups:", "# incoming:", "#   "} {
			if strings.HasPrefix(line, begin) {
				commented++
				line = line[2:]
				break
			}
		}
		lines = append(lines, line)
	}
	if commented < 5 {
		t.Errorf("only %d lines are examples", commented)
	}
	for name, text := range map[string]string{"as it is": DefaultPolicyText, "with its examples": strings.Join(lines, "")} {
		if _, err := ParsePolicy([]byte(text), true, testUpstreams); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if strings.Count(DefaultPolicyText, "\n") > 40 {
		t.Error("nobody reads that much")
	}
}

// empties are the sections that have to be there.
const empties = "hosted: []\nupstream: []\n"

func TestMistakesOfPolicies(t *testing.T) {
	const (
		hosted   = "upstream: []\nhosted:\n- repositories: " // from line 3 on
		upstream = "hosted: []\nupstream:\n- repositories: " // from line 3 on
		incoming = "hosted: []\nupstream: []\nincoming:\n- " // from line 4 on
	)
	for _, c := range []struct{ name, text, want string }{
		{"an empty file", "", "line 1: the policy is empty"},
		{"a file of comments", "# nothing\n", "line 1: the policy is empty"},
		{"an empty mapping", "{}", "line 1: the policy is empty"},
		{"nothing but a word", "hosted", "line 1: a policy is not made of names"},
		{"a list", "- hosted", "line 1: a policy is not made of names"},
		{"a second document", empties + "---\na: b\n", "line 3: a second document"},
		{"a broken second document", empties + "---\n[", "not YAML"},
		{"a tab", "hosted:\n\t- x\n", "line 2: indent with blanks"},
		{"a tab in the first line", "\thosted: []\n", "line 1: indent with blanks"},
		{"a tab behind a dash", "hosted:\n  -\trepositories: [a]\n", "line 2: indent with blanks"},
		{"an open bracket", "hosted: [\n", "not YAML"},
		{"no UTF-8", "hosted: []\n# \xff\nupstream: []", "line 2: the policy is not UTF-8"},
		{"an unknown section", empties + "hostd: []\n", `line 3: a policy has no "hostd", only groups, hosted, upstream, incoming`},
		{"a section twice", empties + "hosted: []\n", "line 3: a policy has hosted twice"},
		{"no hosted", "upstream: []\n", "`entrepot policy default` prints"},
		{"no upstream", "hosted: []\n", "line 1: upstream is missing"},
		{"a section without a value", "upstream: []\nhosted:\n", "line 2: hosted is no list"},
		{"a section that is an entry", "upstream: []\nhosted: {repositories: [a]}\n", `line 2: hosted is no list: put "- " before`},
		{"a section that is a word", "upstream: []\nhosted: all\n", "line 2: hosted is no list"},
		{"an entry that is a word", "upstream: []\nhosted: [all]\n", "line 2: an entry of hosted is not made of names"},
		{"a list as a name", "upstream: []\nhosted: [{[a]: b}]\n", "line 2: an entry of hosted: a name is missing"},

		{"an unknown field", hosted + "[a]\n  pulll: [alice]", `line 4: an entry of hosted has no "pulll", only repositories, pull, push, delete, admin`},
		{"a field twice", hosted + "[a]\n  pull: [alice]\n  pull: [bob]", "line 5: an entry of hosted has pull twice"},
		{"push to an upstream", upstream + "[gcr.io/**]\n  push: [alice]", `line 4: an entry of upstream has no "push", only repositories, pull, admin`},
		{"deletion from an upstream", upstream + "[gcr.io/**]\n  delete: [alice]", `line 4: an entry of upstream has no "delete"`},
		{"no patterns", "upstream: []\nhosted:\n- pull: [alice]", "line 3: the entry has no patterns"},
		{"an empty list of patterns", hosted + "[]", "line 3: the entry has no patterns"},
		{"patterns that are a word", hosted + "team/**", "line 3: patterns of repositories is no list: write [team/**]"},
		{"patterns that are a word in quotes", hosted + "'**'", `line 3: patterns of repositories is no list: write ["**"]`},

		{"who without a value", hosted + "[a]\n  pull:", "line 4: pull is no list; an empty one is []"},
		{"who as a word", hosted + "[a]\n  pull: everyone", "line 4: pull is no list: write [everyone]"},
		{"an empty who", hosted + "[a]\n  pull: [alice, '']", "line 4: pull: a word is empty"},
		{"a who of null", hosted + "[a]\n  pull: [~]", "line 4: pull: a word is empty"},
		{"a who in brackets", hosted + "[a]\n  pull: [[alice]]", "line 4: pull: a word is missing"},
		{"a tagged who", hosted + "[a]\n  pull: [!alice x]", "line 4: pull: a word is missing"},
		{"an unknown group", hosted + "[a]\n  pull: ['@staff']", `line 4: there is no group "staff"`},
		{"anonymous", hosted + "[a]\n  pull: [anonymous]", `line 4: "anonymous" is no user`},
		{"a robot without a name", hosted + "[a]\n  pull: [robot+]", `line 4: "robot+" is no robot`},
		{"a robot of a bad name", hosted + "[a]\n  pull: [robot+A/b]", `line 4: "robot+A/b" is no robot`},
		{"a user with a colon", hosted + "[a]\n  pull: ['a:b']", `line 4: "a:b" is no user`},

		{"groups in groups", empties + "groups: {a: [alice], b: ['@a']}", `line 3: "@a" is no user`},
		{"everyone in a group", empties + "groups: {a: [everyone]}", `line 3: "everyone" is no user`},
		{"robots in a group", empties + "groups: {a: [robots]}", `line 3: "robots" is no user`},
		{"a group twice", empties + "groups:\n  a: [alice]\n  a: []", `line 5: there are two groups "a"`},
		{"an empty group twice", empties + "groups:\n  a: []\n  a: []", `line 5: there are two groups "a"`},
		{"a group of a reserved name", empties + "groups: {users: [alice]}", "line 3: a group cannot be named users"},
		{"a group with its @", empties + "groups: {'@a': [alice]}", "line 3: a group's name"},
		{"a group without a value", empties + "groups: {a: }", "line 3: the group a is no list"},
		{"groups as a list", empties + "groups: [a]", "line 3: groups is not made of names"},

		{"an empty pattern", hosted + "['']", "line 3: patterns of repositories: a word is empty"},
		{"an open class", hosted + "['a[b']", `line 3: pattern "a[b": its brackets`},
		{"braces", hosted + "['{a,b}']", `line 3: pattern "{a,b}": \, { and }`},
		{"an escape", hosted + `['a\*']`, `\, { and }`},
		{"a class with a slash", hosted + "['a[/]b']", "matches a slash too"},
		{"a class without a slash", hosted + "['a[!/]b']", "matches a slash too"},
		{"a class around a slash", hosted + "['a[.-9]b']", "matches a slash too"},
		{"a negated class", hosted + "['a[!b]c']", "matches a slash too"},
		{"two slashes", hosted + "[a//b]", "two in a row"},
		{"a slash at the end", hosted + "[team/]", "begins or ends with a slash"},
		{"a slash at the beginning", hosted + "[/team]", "begins or ends with a slash"},
		{"** within an element", hosted + "[team**]", "** stands alone"},
		{"three stars", hosted + "[team/***]", "** stands alone"},
		{"upper case", hosted + "[Team/a]", "no upper-case letters"},
		{"a blank", hosted + "[a b]", "have no ' '"},
		{"a letter of another script", hosted + "[é]", "have no 'é'"},
		{"a tag", hosted + "['team/a:latest']", "it has a colon"},
		{"a very long pattern", hosted + "[" + strings.Repeat("a", maxPattern+1) + "]", "more than 512 bytes"},
		{"an upstream in hosted", hosted + "[gcr.io/**]", "line 3: pattern \"gcr.io/**\": gcr.io is an upstream"},
		{"an unknown upstream", upstream + "[quay.io/**]", "line 3: pattern \"quay.io/**\": it begins with no configured upstream (docker.io, gcr.io, [::1]:5000)"},
		{"a hosted repository in upstream", upstream + "[team]", "it begins with no configured upstream"},
		{"an upstream alone", upstream + "[gcr.io]", "gcr.io/** matches all"},
		{"a star alone", upstream + "['*']", "*/** matches all"},
		{"an upstream with a tag", upstream + "['gcr.io/a:1']", "it has a colon"},
		{"an empty name of an upstream", upstream + "[gcr.io/]", "it is only an upstream"},
		{"a slash at the end of an upstream's", upstream + "[gcr.io/a/]", "begins or ends with a slash"},
		{"** within a host", upstream + "['gcr**/a']", "** stands alone"},
		{"a class with a slash as a host", upstream + "['g[/]b/c']", "its brackets"},
		{"a name that Docker Hub has not", upstream + "[docker.io/nginx]", "docker.io/library/nginx"},
		{"a star that is no name of Docker Hub", upstream + "['docker.io/*']", "two elements"},

		{"the same patterns again", hosted + "[a, b]\n- repositories: [c]\n- repositories: [b, a]", "line 5: pattern \"b\" never matches: b in line 3 comes first"},
		{"a name below its folder", hosted + "[team/**]\n- repositories: [team/secret]", "line 4: pattern \"team/secret\" never matches: team/** in line 3 comes first"},
		{"a folder below its own", hosted + "[team/**]\n- repositories: ['team/*-x/**']", "line 4: pattern \"team/*-x/**\" never matches"},
		{"anything below everything", upstream + "['**']\n- repositories: [gcr.io/corp/**]", "line 4: pattern \"gcr.io/corp/**\" never matches: ** in line 3"},
		{"everything below everything", upstream + "['**']\n- repositories: ['**']", "line 4: pattern \"**\" never matches"},

		{"neither allow nor deny", incoming + "because: x", "line 4: an entry of incoming has either allow or deny"},
		{"allow and deny", incoming + "{allow: ['**'], deny: ['**']}", "line 4: an entry of incoming has either allow or deny"},
		{"an unknown field of incoming", incoming + "{deny: ['**'], tag: [a]}", `line 4: an entry of incoming has no "tag", only allow, deny, tags, because`},
		{"deny without a value", incoming + "deny:", "line 4: patterns of repositories is no list"},
		{"deny of nothing", incoming + "deny: []", "line 4: the entry has no patterns"},
		{"deny of an unknown upstream", incoming + "deny: [quay.io/**]", "no configured upstream"},
		{"deny of what is hosted", incoming + "deny: [team/**]", "no configured upstream"},
		{"because of allow", incoming + "{allow: ['**'], because: x}", "line 4: because says why"},
		{"a long because", incoming + "{deny: ['**'], because: " + strings.Repeat("x", maxBecause+1) + "}", "line 4: because is one line"},
		{"a because of two lines", incoming + `{deny: ['**'], because: "a\nb"}`, "line 4: because is one line"},
		{"a because that is a list", incoming + "{deny: ['**'], because: [x]}", "line 4: because: a word is missing"},
		{"an empty because", incoming + "{deny: ['**'], because: }", "line 4: because: a word is empty"},
		{"no tags", incoming + "{deny: ['**'], tags: []}", "line 4: tags is empty"},
		{"tags as a word", incoming + "{deny: ['**'], tags: latest}", "line 4: tags is no list"},
		{"an empty tag", incoming + "{deny: ['**'], tags: ['']}", "line 4: tags: a word is empty"},
		{"a digest as a tag", incoming + "{deny: ['**'], tags: ['sha256:*']}", `line 4: tag "sha256:*": tags have no ':'`},
		{"a path as a tag", incoming + "{deny: ['**'], tags: ['a/b']}", "tags have no '/'"},
		{"an open class as a tag", incoming + "{deny: ['**'], tags: ['a[']}", "its brackets"},
		{"** as a tag", incoming + "{deny: ['**'], tags: ['**']}", "write *"},
		{"what can no longer be denied", incoming + "allow: ['**']\n- deny: [gcr.io/bad/**]", "line 5: pattern \"gcr.io/bad/**\" never matches"},
		{"tags that are denied already", incoming + "{deny: ['**'], tags: [a, b]}\n- {deny: ['**'], tags: [b]}", "line 5: pattern \"**\" never matches"},
		{"tags that are allowed already", incoming + "{allow: ['**'], tags: [a]}\n- {deny: ['**'], tags: [a]}", "line 5: pattern \"**\" never matches"},

		{"an unquoted group", hosted + "[a]\n  pull: [alice, @staff]", `line 4: write @staff in quotes: "@staff"`},
		{"an unquoted group on line 1", "hosted: [@staff]", `line 1: write @staff in quotes`},
		{"an unquoted **", hosted + "[**]", `line 3: write ** in quotes: "**"`},
		{"an unquoted ** in an item", "upstream: []\nhosted:\n- repositories:\n  - **/x # *not* here\n", `line 4: write **/x in quotes`},
		{"an unquoted * with a name", upstream + "[*io/corp]", `line 3: write *io/corp in quotes`},
		{"a comment with an @ above the mistake", "# of @staff\n" + "hosted: [*x]", `line 2: write *x in quotes`},
		{"a text with an @ above the mistake", incoming + "{deny: ['**'], because: 'ask @staff'}\n- {deny: [**]}", `line 5: write ** in quotes`},
		{"an alias", "hosted: &x []\nupstream: *x\n", "line 1: &x: a policy has no anchors"},
		{"an alias to nothing", "hosted: []\nupstream: *x\n", "line 2: write *x in quotes"},
		{"an anchor on a word", hosted + "[&a team]", "line 3: &a: a policy has no anchors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParsePolicy([]byte(c.text), true, testUpstreams)
			if err == nil {
				t.Fatal("accepted")
			}
			if p != nil {
				t.Error("a policy beside the error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}

func TestPoliciesThatAreNoMistakes(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"nobody may do anything", empties},
		{"nobody may pull that", "upstream: []\nhosted: [{repositories: [a], pull: []}]"},
		{"nor do anything with that", "upstream: []\nhosted: [{repositories: [a]}]"},
		{"a group below those who name it", "upstream: []\nhosted: [{repositories: [a], pull: ['@g']}]\ngroups: {g: [alice]}"},
		{"a group that nobody is in", empties + "groups: {g: []}"},
		{"a user whose name is a number", "upstream: []\nhosted: [{repositories: [a], pull: [007, no]}]"},
		{"a pattern that repeats itself in one entry", "upstream: []\nhosted: [{repositories: [a, a]}]"},
		{"a narrow pattern above a wide one", "upstream: []\nhosted: [{repositories: [team/a]}, {repositories: [team/*]}, {repositories: [team/**]}, {repositories: [team-b/**]}]"},
		{"a negated class of tags", empties + "incoming: [{deny: ['**'], tags: ['[!v]*']}]"},
		{"more tags than were denied", empties + "incoming: [{deny: ['**'], tags: [a]}, {deny: ['**'], tags: [a, b]}]"},
		{"digests of tags that were denied", empties + "incoming: [{deny: ['**'], tags: [a]}, {allow: ['**'], tags: [a]}, {deny: ['**']}]"},
		{"a because of 200 bytes", empties + "incoming: [{deny: ['**'], because: " + strings.Repeat("x", maxBecause) + "}]"},
		{"lines of Windows", strings.ReplaceAll(wholePolicy, "\n", "\r\n")},
		{"a byte order mark", "\ufeff" + empties},
		{"JSON", `{"hosted": [{"repositories": ["**"], "pull": ["@a"]}], "upstream": [], "groups": {"a": ["alice"]}}`},
	} {
		t.Run(c.name, func(t *testing.T) { parsePolicy(t, c.text) })
	}
}

func TestEveryMistakeIsTold(t *testing.T) {
	_, err := ParsePolicy([]byte(`incoming:
  - deny: [quay.io/**]
    tags: ["a b", "c d"]
hosted:
  - repositories: ["a[", "//"]
    pull: ["@no", anonymous]
    pusch: [alice]
`), true, testUpstreams)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("one error: %v", err)
	}
	begins := []string{"line 1: upstream is missing", `line 2: pattern "quay.io/**"`, `line 3: tag "a b"`, `line 3: tag "c d"`,
		`line 5: pattern "a["`, `line 5: pattern "//"`, `line 6: there is no group "no"`, `line 6: "anonymous"`, `line 7: an entry of hosted has no "pusch"`}
	for i, got := range joined.Unwrap() {
		if i >= len(begins) || !strings.HasPrefix(got.Error(), begins[i]) {
			t.Errorf("mistake %d: %v", i, got)
		}
	}
	if got := len(joined.Unwrap()); got != len(begins) {
		t.Errorf("%d mistakes, want %d", got, len(begins))
	}
}

func TestLimitsOfPolicies(t *testing.T) {
	text := empties + "#" + strings.Repeat("x", maxPolicyText-len(empties)-1)
	if _, err := ParsePolicy([]byte(text), true, nil); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
	if _, err := ParsePolicy([]byte(text+"x"), true, nil); err == nil || !strings.Contains(err.Error(), "more than 1 MiB") {
		t.Errorf("more than 1 MiB: %v", err)
	}
	wrong := "hosted: [" + strings.Repeat("x,", 1000) + "]"
	if _, err := ParsePolicy([]byte(wrong), true, nil); err == nil || len(err.Error()) > 20_000 {
		t.Errorf("1000 mistakes: %d bytes", len(err.Error()))
	}
	for _, c := range []struct {
		name     string
		patterns int
		ok       bool
	}{{"as many patterns as may be", maxPatterns, true}, {"one more", maxPatterns + 1, false}} {
		text := "upstream: []\nhosted: [{repositories: [" + strings.Repeat("a,", c.patterns) + "]}]"
		if _, err := ParsePolicy([]byte(text), true, nil); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestWithoutUsersAPolicyIsOfWhatComesIn(t *testing.T) {
	_, err := ParsePolicy([]byte("groups: {}\nhosted: []\nupstream: []\n"), false, testUpstreams)
	for _, want := range []string{"line 1: groups", "line 2: hosted", "line 3: upstream", "ENTREPOT_HTPASSWD"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := ParsePolicy(nil, false, nil); err == nil {
		t.Error("an empty file was accepted")
	}
	p, err := ParsePolicy([]byte("incoming: [{deny: ['**'], because: no}]"), false, testUpstreams)
	if err != nil {
		t.Fatal(err)
	}
	repo := Repository{Upstream: "gcr.io", Name: "a"}
	if got := p.Decide(Anonymous, Push, repo); got != (Decision{Allowed: true}) {
		t.Errorf("push: %+v", got)
	}
	if got := p.Refuses(repo, "1"); got != "line 1 of the policy: no" {
		t.Errorf("incoming: %q", got)
	}
}

func TestPatternsOfWhatIsNeverHosted(t *testing.T) {
	p, err := ParsePolicy([]byte(`
hosted:
  - repositories: [team/**, "*/shared", my-image, other/app]
    pull: [users]
  - repositories: ["**"]
    pull: [users]
upstream: []
`), true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckHosted(func(string) bool { return true }); err != nil {
		t.Errorf("where everything is hosted: %v", err)
	}
	err = p.CheckHosted(func(first string) bool { return first == "other" })
	want := `line 3: pattern "team/**": names that begin with team/ are the default upstream's, and nothing of them is hosted here: set ENTREPOT_HOSTED=team`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
