package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

// Repositories and tags are few, so that the actors meet. A plain walk of folders would list them in another order.
var (
	crashRepos = []string{"app", "team/web", "team/web-1"}
	crashTags  = []string{"1", "1.0", "1-a", "V2", "latest", "v2"}
)

// actor is one client of a round. It ends when the round is over.
type actor struct {
	*crash
	rand   *rand.Rand
	serial uint64 // of the next thing that nobody else makes
}

func (a *actor) repo() string { return crashRepos[a.rand.IntN(len(crashRepos))] }

func (a *actor) pause(most time.Duration) { time.Sleep(time.Duration(a.rand.Int64N(int64(most)))) }

func (a *actor) push() {
	for !a.over.Load() {
		repo := a.repo()
		switch a.rand.IntN(12) {
		case 0, 1:
			a.pushBlob(repo, a.loose[a.rand.IntN(len(a.loose))])
		case 2:
			a.put(a.index(repo))
		case 3:
			if old := a.manifest(); old != nil { // perhaps it was deleted meanwhile
				a.put(old)
			}
		default:
			a.put(a.image(repo))
		}
		a.pause(5 * time.Millisecond)
	}
}

// manifest is one that was pushed at some time, or nil.
func (a *actor) manifest() *item {
	all := a.model.all("manifest")
	if len(all) == 0 {
		return nil
	}
	return a.model.item(all[a.rand.IntN(len(all))])
}

// image makes an image of shared layers and its own; a third refers to another manifest.
func (a *actor) image(repo string) *item {
	a.serial++
	config := fakehub.NewBlob(ocispec.MediaTypeImageConfig, fakehub.Bytes(fmt.Appendf(nil, `{"serial":%d}`, a.serial)))
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config.Descriptor}
	it := &item{repo: repo, blobs: []fakehub.Blob{config}}
	for range 1 + a.rand.IntN(3) {
		layer := a.layers[a.rand.IntN(len(a.layers))]
		if a.rand.IntN(3) == 0 {
			a.serial++
			layer = fakehub.RandomBlob(a.serial, 2+a.rand.Int64N(40_000))
		}
		it.blobs = append(it.blobs, layer)
		m.Layers = append(m.Layers, layer.Descriptor)
	}
	if subject := a.manifest(); subject != nil && subject.repo == repo {
		it.subject = subject.manifest.Digest
		m.ArtifactType = "application/vnd.entrepot.test"
		m.Subject = &ocispec.Descriptor{MediaType: subject.manifest.MediaType, Digest: subject.manifest.Digest, Size: subject.manifest.Size}
	}
	it.manifest = fakehub.NewManifest(m.MediaType, mustJSON(m))
	return it
}

// index names manifests of the repository that are there, or were a moment ago.
func (a *actor) index(repo string) *item {
	a.serial++
	x := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	x.Annotations = map[string]string{"serial": fmt.Sprint(a.serial)}
	for range 3 {
		if child := a.manifest(); child != nil && child.repo == repo && a.model.may(child.fact(), present) {
			x.Manifests = append(x.Manifests, ocispec.Descriptor{MediaType: child.manifest.MediaType, Digest: child.manifest.Digest, Size: child.manifest.Size})
		}
	}
	return &item{repo: repo, manifest: fakehub.NewManifest(x.MediaType, mustJSON(x))}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// put pushes the blobs and then the manifest. Collection without a grace may take blobs before the manifest is there; the
// answer then says so, and they are pushed again.
func (a *actor) put(it *item) {
	for range 8 {
		for _, b := range it.blobs {
			a.needBlob(it.repo, b)
		}
		if a.over.Load() || a.putManifest(it) != rejected || len(it.blobs) == 0 {
			return
		}
	}
}

// needBlob asks for the blob first, sometimes, as clients do.
func (a *actor) needBlob(repo string, b fakehub.Blob) {
	if a.rand.IntN(2) == 0 {
		if head := a.ask(http.MethodHead, blobPath(repo, b.Digest), nil, 0); head.status == http.StatusOK {
			return
		}
	}
	for range 8 {
		if a.over.Load() || a.pushBlob(repo, b) == acked {
			return
		}
	}
}

func (a *actor) putManifest(it *item) outcome {
	d := it.manifest.Digest.String()
	var tags []string
	path := manifestPath(it.repo, d)
	switch a.rand.IntN(3) {
	case 0:
		tags = []string{crashTags[a.rand.IntN(len(crashTags))]}
		path = manifestPath(it.repo, tags[0])
	case 1:
		first := a.rand.IntN(len(crashTags) - 2)
		tags = append(tags, crashTags[first:first+1+a.rand.IntN(3)]...)
		path += "?" + url.Values{"tag": tags}.Encode()
	}
	changes := a.model.beginPut(it, tags)
	resp := a.ask(http.MethodPut, path, strings.NewReader(string(it.manifest.Bytes)), it.manifest.Size, "Content-Type", it.manifest.MediaType)
	o := rejected
	if !strings.Contains(string(resp.body), "BLOB_UNKNOWN") {
		o = a.outcome(resp, http.StatusCreated)
	}
	a.model.end(changes, o)
	if o == acked {
		a.acknowledged(it, tags, resp)
	}
	return o
}

// acknowledged looks at the answer to a manifest.
func (a *actor) acknowledged(it *item, tags []string, resp answer) {
	a.acked.Add(1)
	if got := resp.header.Get("Docker-Content-Digest"); got != it.manifest.Digest.String() {
		a.Errorf("PUT of %s is acknowledged as %q", it.manifest.Digest, got)
	}
	named := strings.Split(strings.ReplaceAll(strings.Join(resp.header.Values("OCI-Tag"), ","), " ", ""), ",")
	slices.Sort(named)
	if len(tags) > 1 && !slices.Equal(named, slices.Sorted(slices.Values(tags))) {
		a.Errorf("PUT with the tags %q acknowledges %q", tags, named)
	}
}

func (a *actor) pushBlob(repo string, b fakehub.Blob) outcome {
	changes := a.model.beginBlob(repo, b, present)
	o := a.upload(repo, b)
	a.model.end(changes, o)
	return o
}

// upload pushes a blob in one of the ways there are.
func (a *actor) upload(repo string, b fakehub.Blob) outcome {
	path := "/v2/" + repo + "/blobs/uploads/"
	var begun answer
	switch a.rand.IntN(4) {
	case 0:
		begun = a.ask(http.MethodPost, path+"?mount="+b.Digest.String()+"&from="+a.repo(), nil, 0)
	case 1:
		begun = a.ask(http.MethodPost, path+"?digest="+b.Digest.String(), section(b.Content, 0, b.Size), b.Size, "Content-Type", "application/octet-stream")
	default:
		begun = a.ask(http.MethodPost, path, nil, 0)
	}
	switch begun.status {
	case http.StatusAccepted:
	case http.StatusNotFound:
		return rejected // collection without a grace took the beginning of a push in one request
	default:
		return a.outcome(begun, http.StatusCreated)
	}
	u := &upload{repo: repo, blob: b}
	if !a.moved(u, begun) {
		return unknown
	}
	ranged := a.rand.IntN(2) == 0
	for range a.rand.IntN(4) {
		if o := a.chunk(u, u.acked+a.rand.Int64N(b.Size-u.acked+1)&^1, ranged); o != acked {
			return o
		}
		a.pause(3 * time.Millisecond)
	}
	return a.finish(u)
}

// upload is a session. What the server may have of it is known to lie between two offsets.
type upload struct {
	repo, at    string
	blob        fakehub.Blob
	acked, sent int64
	closing     bool // the PUT that ends it was sent
}

func (a *actor) moved(u *upload, resp answer) bool {
	at, err := resp.location()
	if err != nil {
		a.Errorf("upload to %s: %v", u.repo, err)
		return false
	}
	u.at = at
	return true
}

// chunk sends what lies before to: with its range, or as docker does, with neither range nor length.
func (a *actor) chunk(u *upload, to int64, ranged bool) outcome {
	if to == u.acked {
		return acked
	}
	size, header := int64(-1), []string{"Content-Type", "application/octet-stream"}
	if ranged {
		size, header = to-u.acked, append(header, "Content-Range", fmt.Sprintf("%d-%d", u.acked, to-1))
	}
	u.sent = to
	resp := a.ask(http.MethodPatch, u.at, section(u.blob.Content, u.acked, to), size, header...)
	if resp.status == 0 {
		a.leave(u)
		return unknown
	}
	if resp.status == http.StatusNotFound {
		return rejected
	}
	if o := a.outcome(resp, http.StatusAccepted); o != acked {
		return o
	}
	u.acked = to
	if got, want := resp.header.Get("Range"), fmt.Sprintf("0-%d", to-1); got != want {
		a.Errorf("PATCH up to %d answers Range %q, want %q", to, got, want)
	}
	if !a.moved(u, resp) {
		return unknown
	}
	return acked
}

func (a *actor) finish(u *upload) outcome {
	if a.over.Load() {
		a.leave(u)
		return unknown
	}
	u.sent, u.closing = u.blob.Size, true
	resp := a.ask(http.MethodPut, withDigest(u.at, u.blob.Digest), section(u.blob.Content, u.acked, u.blob.Size), u.blob.Size-u.acked,
		"Content-Type", "application/octet-stream")
	switch resp.status {
	case 0:
		a.leave(u)
		return unknown
	case http.StatusNotFound:
		return rejected
	}
	return a.outcome(resp, http.StatusCreated)
}

// remove deletes tags, manifests, and blobs that no manifest names.
func (a *actor) remove() {
	for !a.over.Load() {
		switch a.rand.IntN(6) {
		case 0:
			repo, tag := a.repo(), crashTags[a.rand.IntN(len(crashTags))]
			a.deletes(manifestPath(repo, tag), a.model.beginTagDelete(repo, tag))
		case 1, 2:
			repo, b := a.repo(), a.loose[a.rand.IntN(len(a.loose))]
			a.deletes(blobPath(repo, b.Digest), a.model.beginBlob(repo, b, absent))
		default:
			if it := a.manifest(); it != nil && a.model.may(it.fact(), present) {
				a.deletes(manifestPath(it.repo, it.manifest.Digest.String()), a.model.beginDelete(it))
			}
		}
		a.pause(40 * time.Millisecond)
	}
}

func (a *actor) deletes(path string, changes []*write) {
	resp := a.ask(http.MethodDelete, path, nil, 0)
	o := rejected
	if resp.status != http.StatusNotFound {
		o = a.outcome(resp, http.StatusAccepted)
	}
	a.model.end(changes, o)
	if o == acked {
		a.deleted.Add(1)
	}
}

// collect collects again and again, without a grace.
func (a *actor) collect() {
	for !a.over.Load() {
		a.gc(a.rand.IntN(len(a.servers)))
		a.pause(150 * time.Millisecond)
	}
}
