// Package ui is the web page: it makes HTML of values and knows nothing of where they come from. Whoever fills the values has
// asked the policy; whatever is in them is shown.
package ui

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// Page is what every page has.
type Page struct {
	Title  string
	At     string // which part of the navigation: overview, repositories, space, setup; empty: none
	Server string // host and port, as they stand in image names
	User   string // who is logged in; empty: nobody
	Login  bool   // there are users, and nobody is logged in
	Here   string // path to come back to after a login; empty: the first page
	Notice string // of what was just done

	Version string // of the program, for those who may know it; empty: not shown
}

// Overview is the first page. Live is nil for those who are not to see it.
type Overview struct {
	Page
	Live    *Live
	Empty   bool   // nothing was pulled or pushed yet
	Default string // host of the upstream that is asked for names without a host; empty: none
}

// Live is what changes while somebody watches.
type Live struct {
	Since         time.Time // from when on is counted
	Sent, Fetched int64     // bytes of upstreams' content, to clients and from upstreams
	Hits, Misses  int64     // requests for upstreams' content that cost them nothing, and those that did
	Stale         int64     // answers that could not be checked, since an upstream did not answer
	Fills         []Fill    // under way, the largest first
	MoreFills     int       // that are not listed
	Upstreams     []Upstream
	Tiers         []Tier
	Hosted        *Hosted // nil: not counted yet
}

// Fill is a blob that is being fetched.
type Fill struct {
	Repository string
	Digest     digest.Digest
	Have, Size int64 // bytes; Size -1: nobody has said
	Readers    int
}

// Upstream is how an upstream is.
type Upstream struct {
	Host              string
	State             string // up, trying, down
	CredentialRefused bool
	Limits            []Limit // as it said last; none: it has no limit, or was not asked yet
	Sent, Fetched     int64   // bytes
}

// Limit is a rate limit of an upstream for one account.
type Limit struct {
	Account          string // anonymous, or credential
	Limit, Remaining int64  // pulls
}

// Tier is one place where the cache keeps things.
type Tier struct {
	Name        string // memory, disk
	Used, Limit int64  // bytes
	Blobs       int    // -1: not counted
}

// Hosted is what was pushed here, as the last collection counted.
type Hosted struct {
	Repositories, Manifests, Blobs int
	Bytes                          int64
	Counted                        time.Time
}

// Repositories is a page of the list, in which nothing is that the reader may not pull.
type Repositories struct {
	Page
	Query      string   // what was searched for
	In         string   // hosted, or a registry's host; empty: everywhere
	Places     []string // what In may be
	Rows       []Repository
	Next, Prev string // paths of the next page and of the first one; empty: there is none
}

// Repository is one line of the list.
type Repository struct {
	Name     string // as it stands in an image name behind Server: docker.io/library/nginx, team/app
	Hosted   bool
	Tags     int
	MoreTags bool      // there are more than Tags
	Latest   string    // the tag that changed last
	Changed  time.Time // when Latest was pushed, or last asked for upstream; zero: unknown
}

// RepositoryPage is a page of the tags of one repository.
type RepositoryPage struct {
	Page
	Name       string
	Hosted     bool
	Bytes      int64 // of all that is hosted there, as the last collection counted; -1: unknown
	Tags       []Tag
	Next, Prev string // paths
	Delete     bool   // tags may be deleted
	DeleteAll  bool   // manifests too, with all their tags
}

// Tag is one line of a repository's tags.
type Tag struct {
	Name      string
	Digest    digest.Digest
	Kind      string // image, index, chart, signature, attestation, artifact
	Platforms []string
	Size      int64     // bytes of all that is pulled for one platform, the largest; -1: unknown
	Created   time.Time // of the image; zero: unknown
	Changed   time.Time // pushed, or last asked for upstream; zero: unknown
}

// Image is one manifest or index.
type Image struct {
	Page
	Repository   string
	Hosted       bool
	Tag          string // empty: asked by digest
	Digest       digest.Digest
	MediaType    string
	Kind         string
	ManifestSize int64
	Size         int64 // as Tag's
	Created      time.Time
	Changed      time.Time
	By           string // who pushed the tag; empty: unknown
	Platform     string // of an image: linux/amd64
	Platforms    []Platform
	Layers       []Layer
	Annotations  []Pair
	Config       []Pair // what a person wants of an image's configuration: entrypoint, user, ports and the like
	Referrers    []Referrer
	More         More // that are not listed
	Pulls        []Command
	Raw          string // path of the bytes themselves
	DeleteTag    bool
	DeleteDigest bool
}

// More counts what an Image does not list.
type More struct {
	Platforms, Layers int
	Referrers         bool // nobody has counted them
}

// Platform is one manifest of an index.
type Platform struct {
	Name   string // linux/arm64/v8; attestation and the like where it is none
	Digest digest.Digest
	Size   int64 // -1: unknown, since its manifest is not here
	Kept   Kept
}

// Layer is one blob of a manifest.
type Layer struct {
	Digest    digest.Digest
	MediaType string
	Size      int64
	Kept      Kept
	Command   string // what made it, by the image's history; empty: unknown
}

// Kept says how much of something is here.
type Kept string

const (
	KeptAll  Kept = "all"
	KeptPart Kept = "part"
	KeptNone Kept = "none"
)

// Referrer is a manifest that says something about another one: a signature, an SBOM.
type Referrer struct {
	Kind         string // signature, SBOM, provenance, attestation, other
	ArtifactType string
	Digest       digest.Digest
	Size         int64
}

// Command is one line to copy.
type Command struct{ Client, Text string }

// Pair is a name and what it stands for.
type Pair struct{ Name, Value string }

// Space is what takes how much. The lists are nil for those who are not to see them.
type Space struct {
	Page
	Tiers    []Tier
	Hosted   *Hosted
	Largest  []Largest // the largest first
	Counted  time.Time // when Largest was counted; zero: it is being counted for the first time
	Counting bool
}

// Largest is a repository and what it takes.
type Largest struct {
	Name   string
	Hosted bool
	Bytes  int64 // each blob once, but again for each repository that names it
}

// Setup says how to make a client use this server.
type Setup struct {
	Page
	Clients []Choice
	Client  string // which is shown
	Steps   []Step
}

// Choice is a client to choose: its word in paths, and its name.
type Choice struct{ Word, Name string }

// Step is a file to write or a command to run.
type Step struct {
	Does    string // one sentence
	Path    string // of the file; empty: a command
	Content string
}

// Failure is a page that could not be shown.
type Failure struct {
	Page
	Status  int
	Message string
}
