package proxy

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// matrixPolicy is what the server reads. Who may do what by it is written down once more, by hand, in places.
const matrixPolicy = `
groups:
  staff: [alice, gone]
hosted:
  - repositories: [team/**]
    pull: ["@staff", bob, robot+ci]
    push: ["@staff", robot+ci]
    delete: [alice]
  - repositories: [public/**]
    pull: [everyone]
    push: [pusher]
    delete: [deleter]
  - repositories: ["**"]
    admin: [alice]
upstream:
  - repositories: [docker.io/hidden/**, docker.io/library/hidden, gcr.io/corp/**]
    pull: ["@staff"]
  - repositories: ["**"]
    pull: [everyone, users, robots]
incoming:
  - deny: ["docker.io/*/xmrig"]
    because: miners
  - deny: [docker.io/library/pinned]
    tags: [latest, "v*"]
    because: pin a digest
`

// place is a repository that somebody may be after.
type place struct {
	spelled string            // by a client
	home    string            // its registry and its name there; of a hosted one the name alone
	rights  map[string]string // who may (p)ull, p(u)sh and (d)elete; "" is nobody in particular
	exists  bool
	lent    bool   // anonymous callers do not get what only our credential can read
	refused string // what is kept out: "all" or "tags"

	marker                   string // is in all that a place has, and nowhere else
	manifest, blob           string // digests
	manifestBytes, blobBytes []byte
	referrerBytes            []byte
}

func (p place) hosted() bool { return !strings.Contains(strings.SplitN(p.home, "/", 2)[0], ".") }

// replicaOf is another server that has a token to pull that place.
func replicaOf(spelled string) string { return "a replica of " + spelled }

func (p place) may(who string, right byte) bool {
	if strings.HasPrefix(who, replicaOf("")) {
		return right == 'p' && !p.hosted() && who == replicaOf(p.spelled)
	}
	return strings.IndexByte(p.rights[""], right) >= 0 || strings.IndexByte(p.rights[who], right) >= 0
}

var (
	ofTeam   = map[string]string{"alice": "pud", "gone": "pu", "bob": "p", "robot+ci": "pu"}
	ofPublic = map[string]string{"": "p", "pusher": "u", "deleter": "d"}
	ofAlice  = map[string]string{"alice": "pud"}
	ofStaff  = map[string]string{"alice": "p", "gone": "p"}
	ofAll    = map[string]string{"": "p"}

	places = furnished([]place{
		{spelled: "team/app", home: "team/app", rights: ofTeam, exists: true},
		{spelled: "team/abs", home: "team/abs", rights: ofTeam},
		{spelled: "public/app", home: "public/app", rights: ofPublic, exists: true},
		{spelled: "public/abs", home: "public/abs", rights: ofPublic},
		{spelled: "vault/app", home: "vault/app", rights: ofAlice, exists: true},
		{spelled: "vault/abs", home: "vault/abs", rights: ofAlice},
		{spelled: "single", home: "single", rights: ofAlice, exists: true},
		{spelled: "library/nginx", home: "docker.io/library/nginx", rights: ofAll, exists: true},
		{spelled: "library/absen", home: "docker.io/library/absen", rights: ofAll},
		{spelled: "hidden/app", home: "docker.io/hidden/app", rights: ofStaff, exists: true},
		{spelled: "hidden/abs", home: "docker.io/hidden/abs", rights: ofStaff},
		{spelled: "library/hidden", home: "docker.io/library/hidden", rights: ofStaff, exists: true},
		{spelled: "gcr.io/corp/app", home: "gcr.io/corp/app", rights: ofStaff, exists: true},
		{spelled: "gcr.io/corp/abs", home: "gcr.io/corp/abs", rights: ofStaff},
		{spelled: "docker.io/gcr.io/corp/chain", home: "docker.io/gcr.io/corp/chain", rights: ofStaff, exists: true}, // as gcr.io/corp/chain
		{spelled: "gcr.io/open/app", home: "gcr.io/open/app", rights: ofAll, exists: true},
		{spelled: "corp.example/ours/app", home: "corp.example/ours/app", rights: ofAll, exists: true, lent: true},
		{spelled: "team2/xmrig", home: "docker.io/team2/xmrig", rights: ofAll, exists: true, refused: "all"},
		{spelled: "library/pinned", home: "docker.io/library/pinned", rights: ofAll, exists: true, refused: "tags"},
	})
)

func placeOf(spelled string) place {
	return places[slices.IndexFunc(places, func(p place) bool { return p.spelled == spelled })]
}

// furnished gives every place a manifest, a blob, and what refers to the manifest.
func furnished(all []place) []place {
	for i := range all {
		p := &all[i]
		p.marker = "marker-of-" + strings.ReplaceAll(p.home, "/", "-")
		p.blobBytes = []byte("blob " + p.marker + strings.Repeat(".", 50))
		p.blob = digest.FromBytes(p.blobBytes).String()
		config := []byte("{}")
		m := ocispec.Manifest{
			MediaType: ocispec.MediaTypeImageManifest, Annotations: map[string]string{"of": p.marker},
			Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))},
			Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.Digest(p.blob), Size: int64(len(p.blobBytes))}},
		}
		m.SchemaVersion = 2
		p.manifestBytes, _ = json.Marshal(m) // which always encodes
		p.manifest = digest.FromBytes(p.manifestBytes).String()
		m.Subject = &ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.Digest(p.manifest), Size: int64(len(p.manifestBytes))}
		m.ArtifactType = "x/" + p.marker
		p.referrerBytes, _ = json.Marshal(m)
	}
	return all
}
