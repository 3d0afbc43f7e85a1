package access

import (
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func TestWhereAUsersLineGoes(t *testing.T) {
	const bob = "bob:$2y" + horse
	for _, c := range []struct{ name, before, want string }{
		{"into no file", "", "alice:A\n"},
		{"after the others", "# team\n" + bob + "\n", "# team\n" + bob + "\nalice:A\n"},
		{"after a line without an end", bob, bob + "\nalice:A\n"},
		{"into a file with the line ends of Windows", bob + "\r\n# x", bob + "\r\n# x\r\nalice:A\r\n"},
		{"in the place of the line there was", "alice:$2y" + umlauts + "\n\n" + bob + "\n", "alice:A\n\n" + bob + "\n"},
		{"in the place of a hash of another kind", bob + "\n alice:{SHA}x\n", bob + "\nalice:A\n"},
		{"in the place of several", "alice:x\n" + bob + "\nalice:y", "alice:A\n" + bob + "\n"},
		{"others' mistakes stay", "alice\n#alice:x\nalic:x\nalice2:x\n", "alice\n#alice:x\nalic:x\nalice2:x\nalice:A\n"},
	} {
		if got := string(replaceUser([]byte(c.before), "alice", "alice:A")); got != c.want {
			t.Errorf("%s: got\n%q, want\n%q", c.name, got, c.want)
		}
	}
}

func TestSetPassword(t *testing.T) {
	longest := strings.Repeat("p", 72)
	once, err := SetPassword([]byte("bob:$2y"+horse+"\n"), "alice", longest)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := SetPassword(once, "alice", longest)
	if err != nil {
		t.Fatal(err)
	}
	was, is := parsedUsers(t, string(once)), parsedUsers(t, string(twice))
	if !is.check("alice", longest) || !is.check("bob", "correct horse") || is.cost != bcrypt.DefaultCost {
		t.Errorf("cost %d, and a password is wrong", is.cost)
	}
	wasMark, _ := was.mark("alice")
	if isMark, _ := is.mark("alice"); isMark == wasMark {
		t.Error("the same password set again leaves what was given for the old one good")
	}
}

func TestPasswordsThatCannotBeSet(t *testing.T) {
	for _, c := range []struct{ name, user, password, want string }{
		{"none", "alice", "", "the password is empty"},
		{"longer than bcrypt looks", "alice", strings.Repeat("p", 73), "more than 72 bytes"},
		{"with the end of its line", "alice", "secretword\r", "control characters"},
		{"with a NUL", "alice", "secret\x00word", "control characters"},
		{"of a robot", "robot+ci", "secretword", "reserved"},
		{"of everyone", "everyone", "secretword", "reserved"},
		{"of a group", "@staff", "secretword", "begins with"},
		{"of a comment", "#alice", "secretword", "begins with"},
		{"of no name", "", "secretword", "empty"},
		{"of two names", "alice\nbob", "secretword", "control characters"},
		{"of a name with a colon", "alice:bob", "secretword", "colon"},
		{"of a long name", strings.Repeat("a", 129), "secretword", "128 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := SetPassword(nil, c.user, c.password)
			if text != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%q, %v; want %s", text, err, c.want)
			}
			if c.password != "" && strings.Contains(err.Error(), c.password) || strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestAFileThatIsFull(t *testing.T) {
	full := []byte("#" + strings.Repeat("x", maxUsersText-2) + "\n")
	if text, err := SetPassword(full, "alice", "wonderland"); text != nil || err == nil {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestRemoveUser(t *testing.T) {
	for _, c := range []struct {
		name, before, want string
		found              bool
	}{
		{"from the middle", "# x\r\nbob:1\r\nalice:2\r\n\r\neve:3", "# x\r\nbob:1\r\n\r\neve:3", true},
		{"from the end", "bob:1\nalice:2", "bob:1\n", true},
		{"the only one", "alice:2", "", true},
		{"all the lines of one", "alice:1\nbob:2\n  alice:3\n", "bob:2\n", true},
		{"nobody", "", "", false},
		{"somebody else", "#alice:1\nalice\nalic:2\nalice2:3\nAlice:4", "#alice:1\nalice\nalic:2\nalice2:3\nAlice:4", false},
	} {
		if rest, found := RemoveUser([]byte(c.before), "alice"); string(rest) != c.want || found != c.found {
			t.Errorf("%s: %q, %v; want %q, %v", c.name, rest, found, c.want, c.found)
		}
	}
	if rest, found := RemoveUser([]byte("alice\n:x\n"), ""); found || string(rest) != "alice\n:x\n" {
		t.Errorf("without a name: %q, %v", rest, found)
	}
}
