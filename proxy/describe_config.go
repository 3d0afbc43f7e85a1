package proxy

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/entrepot/entrepot/proxy/ui"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const longestCommand = 200 // runes

// configured is what an image's configuration says.
type configured struct {
	created  time.Time
	platform string
	commands []string  // what made each layer, in their order; none where the history does not fit the layers
	pairs    []ui.Pair // what a person wants to know
}

// describeConfig reads an image's configuration. What cannot be read says nothing. The values of environment variables, labels
// and build arguments are left out: they may be secrets.
func describeConfig(config []byte) configured {
	doc := readObject(config)
	platform := ocispec.Platform{
		OS: field[string](doc, "os"), Architecture: field[string](doc, "architecture"),
		Variant: field[string](doc, "variant"), OSVersion: field[string](doc, "os.version"),
	}
	return configured{
		created:  createdAt(field[time.Time](doc, "created")),
		platform: platformText(&platform),
		commands: commandsOf(doc),
		pairs:    runPairs(readObject(doc["config"])),
	}
}

// createdAt is zero for the times that reproducible builds use instead of the true one.
func createdAt(t time.Time) time.Time {
	if t.Year() < 2000 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// commandsOf gives the commands of the history that made layers.
func commandsOf(doc map[string]json.RawMessage) (commands []string) {
	for _, entry := range field[[]json.RawMessage](doc, "history") {
		step := readObject(entry)
		if !field[bool](step, "empty_layer") {
			commands = append(commands, cleanCommand(field[string](step, "created_by")))
		}
	}
	if layers := field[[]string](readObject(doc["rootfs"]), "diff_ids"); len(layers) != len(commands) {
		return nil // nobody knows which is whose
	}
	return commands
}

// What builders write before the command of a line of a Dockerfile.
var (
	buildArguments = regexp.MustCompile(`^(?:RUN )?\|\d+(?: .*?)? /\S*sh (?:-\S+ (?:pipefail )?)*?-\w*c `)
	noCommand      = regexp.MustCompile(`^(?:/bin/sh -c|cmd /S /C) #\(nop\)`)
	shellItself    = regexp.MustCompile(`^(?:RUN )?/bin/sh -c `)
)

// cleanCommand takes away what builders add to a line of a Dockerfile: the shell, build arguments and their values, marks.
func cleanCommand(s string) string {
	s = strings.Join(strings.Fields(s[:min(len(s), 8<<10)]), " ")
	s = strings.TrimSuffix(s, " # buildkit")
	switch {
	case buildArguments.MatchString(s):
		s = buildArguments.ReplaceAllString(s, "RUN ")
	case strings.HasPrefix(s, "|"), strings.HasPrefix(s, "RUN |"):
		s = "RUN" // by a shell that nobody knows: where the arguments end is not known either
	default:
		s = shellItself.ReplaceAllString(noCommand.ReplaceAllString(s, ""), "RUN ")
	}
	return shorten(s, longestCommand)
}

// runPairs tells how the image runs.
func runPairs(run map[string]json.RawMessage) (pairs []ui.Pair) {
	add := func(name, value string) {
		if value = shorten(value, longestValue); value != "" {
			pairs = append(pairs, ui.Pair{Name: name, Value: value})
		}
	}
	add("Entrypoint", words(run["Entrypoint"]))
	add("Command", words(run["Cmd"]))
	add("User", field[string](run, "User"))
	add("Working directory", field[string](run, "WorkingDir"))
	add("Ports", names(run["ExposedPorts"]))
	add("Volumes", names(run["Volumes"]))
	var environment []string
	for _, variable := range field[[]string](run, "Env") {
		if name, _, assigned := strings.Cut(variable, "="); assigned { // what is no assignment may be all value
			environment = append(environment, name)
		}
	}
	add("Environment", strings.Join(environment, ", "))
	if labels := readObject(run["Labels"]); len(labels) > 0 {
		add("Labels", strconv.Itoa(len(labels)))
	}
	return pairs
}

// words shows a command, in quotes where a word would not be seen as one.
func words(raw json.RawMessage) string {
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		var line string
		_ = json.Unmarshal(raw, &line) // else it is nothing
		return line
	}
	for i, word := range list {
		if word == "" || strings.ContainsFunc(word, unicode.IsSpace) || strings.ContainsAny(word, `"'`) {
			list[i] = strconv.Quote(word)
		}
	}
	return strings.Join(list, " ")
}

// names shows the keys of an object.
func names(raw json.RawMessage) string {
	return strings.Join(slices.Sorted(maps.Keys(readObject(raw))), ", ")
}

// shorten gives at most n runes of a text on one line, without what changes how others are read, as direction marks do.
func shorten(s string, n int) string {
	var b strings.Builder
	s = strings.TrimSpace(s)
	for _, r := range s {
		switch {
		case n == 0:
			b.WriteRune('…')
			return b.String()
		case unicode.Is(unicode.Cf, r):
			continue
		case unicode.IsSpace(r), unicode.IsControl(r):
			r = ' '
		}
		b.WriteRune(r)
		n--
	}
	return b.String()
}
