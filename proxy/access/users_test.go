package access

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// Salts and hashes that glibc's crypt made, all but the last of "correct horse".
const (
	horse   = "$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
	umlauts = "$05$N9qo8uLOickgx2ZMRZoMyeJNvAuAcV2WTmV59ERHGA38pEXH3W172" // of "pässwörd"
)

func parsedUsers(t *testing.T, text string) *users {
	t.Helper()
	u, err := parseUsers([]byte(text))
	if err != nil {
		t.Fatalf("parseUsers(%q): %v", text, err)
	}
	return u
}

func TestPasswordsOfAFile(t *testing.T) {
	u := parsedUsers(t, "\r\n# the team\r\nalice:$2a"+horse+"\r\n \t\n  bob:$2b"+horse+" \n\n#eve:$2y"+horse+"\ncarol:$2y"+horse+
		"\nrené:$2y"+umlauts+"\nkim lee@example.com:$2y"+horse)
	for _, c := range []struct {
		name, password string
		want           bool
	}{
		{"alice", "correct horse", true},
		{"bob", "correct horse", true},
		{"carol", "correct horse", true},
		{"kim lee@example.com", "correct horse", true},
		{"rené", "pässwörd", true},
		{"alice", "correct horsf", false},
		{"alice", "correct horse ", false},
		{"alice", "", false},
		{"Alice", "correct horse", false},
		{"rené", "correct horse", false},
		{"eve", "correct horse", false},
		{"#eve", "correct horse", false},
		{"", "correct horse", false},
		{"", "", false},
		{"alice", horse, false},
		{"alice", strings.Repeat("x", 10_000), false},
	} {
		if got := u.check(c.name, c.password); got != c.want {
			t.Errorf("check(%q, %.20q) = %v, want %v", c.name, c.password, got, c.want)
		}
	}
	for name, want := range map[string]bool{"alice": true, "rené": true, "eve": false, "": false} {
		if got := u.has(name); got != want {
			t.Errorf("has(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestAnEmptyPasswordIsNobodys(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword(nil, bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if u := parsedUsers(t, "alice:"+string(hash)); u.check("alice", "") {
		t.Error("alice logs in without a password")
	}
}

func TestFilesWithoutUsers(t *testing.T) {
	for _, text := range []string{"", "\n\n", "# only robots\r\n"} {
		u := parsedUsers(t, text)
		if u.cost != bcrypt.DefaultCost || len(u.byName) != 0 {
			t.Errorf("%q: %d users at cost %d, want none at %d", text, len(u.byName), u.cost, bcrypt.DefaultCost)
		}
	}
}

func TestWrongLinesOfUsers(t *testing.T) {
	const tool = "`entrepot htpasswd`"
	for _, c := range []struct{ name, line, want string }{
		{"MD5 of Apache", "bob:$apr1$hashhash$hashhashhashhashhashha", `user "bob": the password is not hashed by bcrypt; make a line with ` + tool},
		{"SHA-1", "bob:{SHA}hashhashhashhashhashhashhas=", `user "bob": the password is not hashed by bcrypt`},
		{"crypt", "bob:hashhashhashh", `user "bob": the password is not hashed by bcrypt`},
		{"SHA-512", "bob:$6$hashhash$hashhash", `user "bob": the password is not hashed by bcrypt`},
		{"argon2", "bob:$argon2id$v=19$hashhash", `user "bob": the password is not hashed by bcrypt`},
		{"the bcrypt that had the bug", "bob:$2x" + horse, `user "bob": the password is not hashed by bcrypt`},
		{"the first bcrypt", "bob:$2" + horse, `user "bob": the password is not hashed by bcrypt`},
		{"no hash", "bob:", `user "bob": the password is not hashed by bcrypt`},
		{"a blank before the hash", "bob: $2y" + horse, `user "bob": the password is not hashed by bcrypt`},
		{"a hash cut short", "bob:$2y" + horse[:50], `user "bob": the hash is cut short or damaged; make a line with ` + tool},
		{"two lines in one", "bob:$2y" + horse + "eve:$2y" + horse, `user "bob": the hash is cut short or damaged`},
		{"a wrong letter in the hash", "bob:$2y" + strings.Replace(horse, "q", "?", 1), `user "bob": the hash is cut short or damaged`},
		{"no dollar after the cost", "bob:$2y$104" + horse[4:], `user "bob": the hash is cut short or damaged`},
		{"a cost that is no number", "bob:$2y$+4" + horse[3:], `user "bob": the hash is cut short or damaged`},
		{"a cost that bcrypt refuses", "bob:$2y$03" + horse[3:], `user "bob": the hash is cut short or damaged`},
		{"a cost of seconds", "bob:$2y$15" + horse[3:], `user "bob": the cost of the hash is above 14: one login would take seconds`},
		{"no name", ":$2y" + horse, "there is no user name with a colon after it"},
		{"no colon", "hashhashhashhash", "there is no user name with a colon after it"},
		{"the hash first", "$2y" + horse + ":bob", "the user name begins with #, @, $ or {"},
		{"another hash first", "{SHA}hashhash=:bob", "the user name begins with #, @, $ or {"},
		{"a group", "@staff:$2y" + horse, "the user name begins with #, @, $ or {"},
		{"a robot", "robot+ci:$2y" + horse, "the user name robot+ci is reserved"},
		{"everyone", "everyone:$2y" + horse, "the user name everyone is reserved"},
		{"users", "users:$2y" + horse, "the user name users is reserved"},
		{"robots", "robots:$2y" + horse, "the user name robots is reserved"},
		{"anonymous", "anonymous:$2y" + horse, "the user name anonymous is reserved"},
		{"a NUL", "bo\x00b:$2y" + horse, "the user name has control characters"},
		{"a carriage return inside", "eve\rbob:$2y" + horse, "the user name has control characters"},
		{"an escape of terminals", "\x1b[31mbob:$2y" + horse, "the user name has control characters"},
		{"text that runs the other way", "\u202ebob:$2y" + horse, "the user name has control characters"},
		{"the mark of an editor", "\ufeffbob:$2y" + horse, "the user name has control characters"},
		{"no UTF-8", "b\xf6b:$2y" + horse, "the user name has control characters"},
		{"a blank after the name", "bob :$2y" + horse, "the user name has control characters, other invisible ones, or a blank at its end"},
		{"a long name", strings.Repeat("b", 129) + ":$2y" + horse, "the user name has more than 128 bytes"},
		{"somebody else's name", "alice:$2y" + horse, `user "alice" is on line 1 too`},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := parseUsers([]byte("alice:$2y" + horse + "\n# bob\n" + c.line + "\n"))
			if u != nil || err == nil || !strings.HasPrefix(err.Error(), "line 3: "+c.want) {
				t.Fatalf("%v, %v; want line 3: %s", u, err, c.want)
			}
			for _, part := range []string{"hashhash", "abcdef", "XxJLQ", "$2y", "15"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("the error shows %q, which is of the hash: %v", part, err)
				}
			}
		})
	}
}

func TestTheLongestName(t *testing.T) {
	name := strings.Repeat("b", 128)
	if u := parsedUsers(t, name+":$2y"+horse); !u.check(name, "correct horse") {
		t.Error("it does not log in")
	}
}

func TestTheHighestCost(t *testing.T) {
	if u := parsedUsers(t, "bob:$2y$14"+horse[3:]); u.cost != 14 {
		t.Errorf("cost %d", u.cost)
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	_, err := parseUsers([]byte("alice:x\nbob:$2y" + horse + "\nbob:$2y" + horse + "\n\nusers:x"))
	all, ok := err.(interface{ Unwrap() []error })
	if !ok || len(all.Unwrap()) != 3 {
		t.Fatalf("%v, want 3 mistakes", err)
	}
	for i, want := range []string{"line 1: ", "line 3: ", "line 5: "} {
		if got := all.Unwrap()[i].Error(); !strings.HasPrefix(got, want) {
			t.Errorf("mistake %d: %s, want %s", i, got, want)
		}
	}
}

func TestAFileOfMistakesOnly(t *testing.T) {
	_, err := parseUsers([]byte(strings.Repeat("x\n", toldMistakes+23)))
	lines := strings.Split(fmt.Sprint(err), "\n")
	if got, want := len(lines), toldMistakes+1; got != want {
		t.Fatalf("%d lines, want %d", got, want)
	}
	if got, want := lines[toldMistakes], "and 23 more"; got != want {
		t.Errorf("the last is %q, want %q", got, want)
	}
}

func TestTooManyUsers(t *testing.T) {
	if u, err := parseUsers(make([]byte, maxUsersText+1)); u != nil || err == nil || err.Error() != "there are more than 4 MiB of users" {
		t.Errorf("%v, %v", u, err)
	}
}

// compared are the costs of the hashes that check compares, in the place of the time it takes.
func compared(u *users, name, password string) (costs []int, ok bool) {
	counting := *u
	counting.compare = func(hash, password []byte) error {
		cost, err := bcrypt.Cost(hash)
		if err != nil {
			return err
		}
		costs = append(costs, cost)
		return bcrypt.CompareHashAndPassword(hash, password)
	}
	ok = counting.check(name, password)
	return costs, ok
}

// CVE-2025-59350, CVE-2023-20902: how long a wrong login takes must not tell whether there is such a user.
func TestCVE_2025_59350_CVE_2023_20902_EveryWrongLoginIsTheSameWork(t *testing.T) {
	file := "slow:$2y" + strings.Replace(umlauts, "$05$", "$06$", 1) + "\nquick:$2a" + horse + "\n"
	for _, c := range []struct {
		name, file, user, password string
		want                       []int
		ok                         bool
	}{
		{"nobody", file, "nobody", "correct horse", []int{6}, false},
		{"no name", file, "", "", []int{6}, false},
		{"the highest cost", file, "slow", "x", []int{6}, false},
		{"a low cost, made up for", file, "quick", "x", []int{4, 4, 5}, false}, // 2^4 + 2^4 + 2^5 = 2^6 rounds
		{"a right password", file, "quick", "correct horse", []int{4}, true},
		{"nobody where there are no users", "", "nobody", "x", []int{10}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := compared(parsedUsers(t, c.file), c.user, c.password)
			if !slices.Equal(got, c.want) || ok != c.ok {
				t.Errorf("compared with hashes of costs %v: %v, want %v: %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestNobodyLogsInWhateverThePassword(t *testing.T) {
	u := parsedUsers(t, "alice:$2a"+horse)
	u.compare = func([]byte, []byte) error { return nil }
	if u.check("nobody", "x") || !u.check("alice", "x") {
		t.Error("who logs in depends on the hash that stands for nobody's")
	}
}

func TestMarksOfUsers(t *testing.T) {
	was := parsedUsers(t, "alice:$2a"+horse+"\nbob:$2a"+horse)
	mark, ok := was.mark("alice")
	if !ok || len(mark) != 12 || strings.ContainsAny(mark, "+/=.$") || strings.Contains(horse, mark) {
		t.Fatalf("mark %q, %v", mark, ok)
	}
	for _, c := range []struct {
		name, file string
		same, ok   bool
	}{
		{"the same line elsewhere in the file", "# x\nbob:$2y" + horse + "\nalice:$2a" + horse + "\r\n", true, true},
		{"another password", "alice:$2a" + umlauts, false, true},
		{"the same password hashed again", "alice:$2y" + horse, false, true},
		{"gone", "bob:$2a" + horse, false, false},
	} {
		if got, ok := parsedUsers(t, c.file).mark("alice"); (got == mark) != c.same || ok != c.ok {
			t.Errorf("%s: mark %q, %v; was %q", c.name, got, ok, mark)
		}
	}
	if bobs, _ := was.mark("bob"); bobs == mark {
		t.Error("two users with one hash have one mark")
	}
}

func FuzzParseUsers(f *testing.F) {
	for _, text := range []string{"", "#\n\r\n", "alice:$2y" + horse, "a:$2a" + horse + "\r\nb:$2b" + umlauts + "\n#", "x", ":", "a:{SHA}hashhash", "$2y" + horse + ":a"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		u, err := parseUsers(text)
		if err != nil {
			wantNoHash(t, string(text), err.Error())
			return
		}
		if len(u.byName) > 0 && (u.cost < bcrypt.MinCost || u.cost > maxCost) {
			t.Errorf("cost %d", u.cost)
		}
		for name, user := range u.byName {
			if err := checkUserName(name); err != nil {
				t.Errorf("%q: %v", name, err)
			}
			if cost, err := bcrypt.Cost(user.hash); err != nil || cost != user.cost || len(user.mark) != 12 {
				t.Errorf("%q: %+v, whose cost is %d, %v", name, user, cost, err)
			}
			rest, found := RemoveUser(text, name)
			left, err := parseUsers(rest)
			if !found || err != nil || left.has(name) || len(left.byName) != len(u.byName)-1 {
				t.Errorf("without %q: %v, %v", name, found, err)
			}
		}
	})
}

// wantNoHash: what comes after the colon of a line is in no error.
func wantNoHash(t *testing.T, text, message string) {
	t.Helper()
	for line := range strings.Lines(text) {
		name, hash, _ := strings.Cut(strings.TrimSpace(line), ":")
		if len(hash) > 20 && strings.Contains(message, hash) && !strings.Contains(name, hash) {
			t.Errorf("the error shows %q: %s", hash, message)
		}
	}
}

func TestNamesOfUsers(t *testing.T) {
	names, err := UserNames([]byte("bob:$2b" + horse + "\n# nobody:x\nalice:$2a" + horse))
	if err != nil || !slices.Equal(names, []string{"alice", "bob"}) {
		t.Errorf("got %q, %v", names, err)
	}
	if names, err := UserNames([]byte("bob:x\nalice\n")); names != nil || err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("of a wrong file: %q, %v", names, err)
	}
}
