package main

import (
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// variable is one field of a configuration struct, by its tags.
type variable struct {
	Name    string // without the prefix
	Default string
	Doc     string
	Value   string // as a person would write it; secrets are stars
}

// variables lists the fields of a Config or an UpstreamBlock in their order.
func variables(config any) []variable {
	v := reflect.ValueOf(config)
	var all []variable
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := tagName(field)
		if name == "-" {
			continue
		}
		all = append(all, variable{
			Name: name, Default: field.Tag.Get("envDefault"), Doc: field.Tag.Get("doc"),
			Value: printable(v.Field(i)),
		})
	}
	return all
}

// tagName is the variable's name without the options that stand after it ("PASSWORD_FILE,file").
func tagName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
	return name
}

func printable(v reflect.Value) string {
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface())
	}
	items := make([]string, v.Len())
	for i := range items {
		items[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(items, ",")
}

// settings yields every variable with its full name and its effective value, so that they can be read back: HTPASSWD only
// where it is set.
func (c Config) settings() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, v := range variables(c) {
			if v.Name == "HTPASSWD" && v.Value == "" {
				continue
			}
			if !yield(prefix+v.Name, v.Value) {
				return
			}
		}
		for _, block := range c.Blocks {
			for _, v := range variables(block) {
				if !yield(blockPrefix(block.Label)+v.Name, v.Value) {
					return
				}
			}
		}
	}
}

func blockPrefix(label string) string { return prefix + "UPSTREAM_" + label + "_" }

var blockName = regexp.MustCompile(`^` + prefix + `UPSTREAM_([0-9]+)_`)

// blockLabels finds the n of all UPSTREAM_n_* names, by number: 2 before 10.
func blockLabels(environment map[string]string) []string {
	var labels []string
	for name := range environment {
		if m := blockName.FindStringSubmatch(name); m != nil && !slices.Contains(labels, m[1]) {
			labels = append(labels, m[1])
		}
	}
	slices.SortFunc(labels, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return labels
}

// unknown names every variable with our prefix that no field reads: most are misspelt, and would change nothing in silence.
func unknown(environment map[string]string) []error {
	var errs []error
	for name := range environment {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		known := fullNames(prefix, Config{})
		if m := blockName.FindString(name); m != "" {
			known = fullNames(m, UpstreamBlock{})
		}
		if !slices.Contains(known, name) {
			errs = append(errs, fmt.Errorf("%s: no such variable%s", name, suggestion(name, known)))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

func fullNames(prefix string, config any) []string {
	var names []string
	for _, v := range variables(config) {
		names = append(names, prefix+v.Name)
	}
	return names
}

// suggestion is the known name that is nearest, where one is near enough to be what was meant.
func suggestion(name string, known []string) string {
	nearest := slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
	if distance(name, nearest) > 4 {
		return ""
	}
	return "; did you mean " + nearest + "?"
}

// distance counts the insertions, deletions and replacements that make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
