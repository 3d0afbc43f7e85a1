package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/entrepot/entrepot/proxy"
)

// leastGrace bounds GC_GRACE: docker pushes a manifest seconds after its last blob, and clocks and disks stall.
const leastGrace = time.Minute

// LoadConfig reads the environment. Its error holds all mistakes, each with the name of its variable.
func LoadConfig(environment map[string]string) (Config, error) {
	var c Config
	errs := parse(&c, prefix, environment)
	for _, label := range blockLabels(environment) {
		block := UpstreamBlock{Label: label}
		errs = append(errs, parse(&block, blockPrefix(label), environment)...)
		c.Blocks = append(c.Blocks, block)
	}
	errs = append(errs, unknown(environment)...)
	errs = append(errs, lostUsers(environment)...)
	if len(errs) == 0 { // checks compare values, which only say something once all of them are read
		errs = c.check()
	}
	return c, errors.Join(errs...)
}

// lostUsers: an empty value, most likely of a variable that nobody set, must not open the server to everybody.
func lostUsers(environment map[string]string) []error {
	if value, set := environment[prefix+"HTPASSWD"]; !set || value != "" {
		return nil
	}
	return []error{errors.New(prefix + "HTPASSWD: set and empty: name the file of users, or unset it for a server that is open to everybody")}
}

// parse reads one flat struct. env's list of structs is not used: it stops at the first gap in the numbers and at the
// first block with a mistake.
func parse[T any](into *T, prefix string, environment map[string]string) []error {
	err := env.ParseWithOptions(into, env.Options{Prefix: prefix, Environment: environment})
	if err == nil {
		return nil
	}
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []error{err}
	}
	var errs []error
	for _, err := range all.Errors {
		errs = append(errs, byVariable(err, prefix, reflect.TypeFor[T]()))
	}
	return errs
}

// byVariable names the variable where env names the Go field.
func byVariable(err error, prefix string, config reflect.Type) error {
	var parse env.ParseError
	if errors.As(err, &parse) {
		field, _ := config.FieldByName(parse.Name)
		return fmt.Errorf("%s%s: %w", prefix, tagName(field), parse.Err)
	}
	var load env.LoadFileContentError
	if errors.As(err, &load) {
		return fmt.Errorf("%s: %w", load.Key, load.Err)
	}
	return err
}

// check finds the mistakes that need more than one value.
func (c Config) check() []error {
	var errs []error
	fail := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf(prefix+name+": "+format, args...))
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		fail("TLS_CERT", "a certificate and %sTLS_KEY go together", prefix)
	}
	if c.TLSClientCA != "" && c.TLSCert == "" {
		fail("TLS_CLIENT_CA", "client certificates need %sTLS_CERT", prefix)
	}
	if c.TokenKey != "" && c.Htpasswd == "" {
		fail("TOKEN_KEY", "tokens are for users: set %sHTPASSWD", prefix)
	}
	if c.Data == "" {
		fail("DATA", "a directory is needed")
	}
	if c.RateFloor < 0 {
		fail("RATE_FLOOR", "%d is negative", c.RateFloor)
	}
	if c.MaxConnections < 1 {
		fail("MAX_CONNECTIONS", "%d is not a number of connections", c.MaxConnections)
	}
	if grace := time.Duration(c.GCGrace); grace < leastGrace {
		fail("GC_GRACE", "%s is less than %s: a blob must outlive the time between its push and that of its manifest", c.GCGrace, Duration(leastGrace))
	}
	c.checkS3(fail)
	for _, t := range c.TagTTLs {
		if _, err := path.Match(t.Pattern, ""); err != nil {
			fail("TAG_TTLS", "%q is not a pattern", t.Pattern)
		}
	}
	twice(fail, "TAG_TTLS", c.TagTTLs, func(t TagTTL) string { return t.Pattern })
	twice(fail, "HOSTS", c.Hosts, func(h HostAlias) string { return strings.ToLower(h.Host) })
	twice(fail, "UPSTREAMS", c.Upstreams, func(u UpstreamSpec) string { return canonical(u.Host) })
	for _, u := range c.upstreams() {
		if slices.Contains([]string{"hosted", "none", "other"}, canonical(u.Host)) {
			fail("UPSTREAMS", "%s is a word by which metrics and the page mean something else; give that registry another name, %s.example=URL", u.Host, u.Host)
		}
	}
	return slices.Concat(errs, c.checkBlocks(), c.checkNames())
}

// twice finds names that a list has more than once: only one of them could count.
func twice[T any](fail func(name, format string, args ...any), variable string, list []T, name func(T) string) {
	seen := map[string]bool{}
	for _, item := range list {
		if seen[name(item)] {
			fail(variable, "%s is there twice", name(item))
		}
		seen[name(item)] = true
	}
}

func (c Config) checkBlocks() []error {
	var errs []error
	owner := map[string]string{}
	for _, b := range c.Blocks {
		fail := func(name, format string, args ...any) {
			errs = append(errs, fmt.Errorf(blockPrefix(b.Label)+name+": "+format, args...))
		}
		if b.Host == "" {
			fail("HOST", "the block names no upstream")
			continue
		}
		if first, taken := owner[canonical(b.Host)]; taken {
			fail("HOST", "%s has a block already: %sHOST", b.Host, blockPrefix(first))
		}
		owner[canonical(b.Host)] = b.Label
		if b.Password != "" && b.PasswordFile != "" {
			fail("PASSWORD", "give either this or PASSWORD_FILE")
		}
		if (b.Username == "") != (b.Secret() == "") {
			fail("USERNAME", "a user name and a password go together")
		}
		if b.Auth == "basic" && b.Username == "" {
			fail("AUTH", "basic needs a user name and a password")
		}
		if (b.Auth == "ecr" || b.Auth == "google") && b.Username != "" {
			fail("AUTH", "%s brings its own credential, so there is no user name", b.Auth)
		}
		if (b.ClientCert == "") != (b.ClientKey == "") {
			fail("CLIENT_CERT", "a certificate and CLIENT_KEY go together")
		}
		if b.MaxRequests < 1 {
			fail("MAX_REQUESTS", "%d is not a number of requests", b.MaxRequests)
		}
	}
	return errs
}

// checkNames sees that every upstream that is spoken of exists.
func (c Config) checkNames() []error {
	var errs []error
	upstreams := c.upstreams()
	exists := func(host string) bool { return indexHost(upstreams, host) >= 0 }
	if c.DefaultUpstream != "none" && !exists(c.DefaultUpstream) {
		errs = append(errs, fmt.Errorf("%sDEFAULT_UPSTREAM: %s is not among the upstreams: name one of them, or none", prefix, c.DefaultUpstream))
	}
	for _, alias := range c.Hosts {
		if !exists(alias.Upstream) {
			errs = append(errs, fmt.Errorf("%sHOSTS: %s is not among the upstreams", prefix, alias.Upstream))
		}
	}
	return errs
}

// upstreams is the list with each block joined to its host; hosts that only a block names come last.
func (c Config) upstreams() []UpstreamBlock {
	var all []UpstreamBlock
	for _, spec := range c.Upstreams {
		block := defaultBlock()
		block.Host, block.URL = spec.Host, spec.URL
		all = append(all, block)
	}
	for _, block := range c.Blocks {
		i := indexHost(all, block.Host)
		if i < 0 {
			all = append(all, block)
			continue
		}
		if block.URL == "" {
			block.URL = all[i].URL
		}
		all[i] = block
	}
	return all
}

func indexHost(all []UpstreamBlock, host string) int {
	return slices.IndexFunc(all, func(u UpstreamBlock) bool { return canonical(u.Host) == canonical(host) })
}

// defaultBlock is a block of which no variable is set. The defaults stand in the tags, so parsing nothing gives them.
func defaultBlock() UpstreamBlock {
	var block UpstreamBlock
	parse(&block, "", map[string]string{})
	return block
}

// environ is the process's environment as a map.
func environ() map[string]string { return env.ToMap(os.Environ()) }

// canonical is the one spelling of an upstream's host.
func canonical(host string) string {
	return proxy.Canonical(strings.ToLower(host))
}
