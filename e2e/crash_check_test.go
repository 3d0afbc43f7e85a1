package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

const (
	afterKill       = "after the kill"
	afterCollection = "after collection"
)

// check compares everything that can be read with the model. Nothing is written meanwhile, so what it finds must stay.
func (c *crash) check(when string, by *client) {
	k := &checker{crash: c, by: by, when: when, visible: map[fact]bool{}, whole: map[fact]bool{}}
	for _, f := range c.model.all("manifest") {
		k.manifest(f)
	}
	for _, f := range c.model.all("blob") {
		k.blob(f)
	}
	for _, repo := range crashRepos {
		k.tags(repo)
		k.referrers(repo)
	}
	k.catalog()
}

type checker struct {
	*crash
	by      *client
	when    string
	visible map[fact]bool // manifests that are served
	whole   map[fact]bool // blobs that were read
}

func (k *checker) wrong(f fact, format string, args ...any) {
	k.Errorf("%s: %s %s of %s: %s", k.when, f.kind, f.name, f.repo, fmt.Sprintf(format, args...))
}

// expect fails the test unless the model allows the value, and notes it.
func (k *checker) expect(f fact, value string) {
	if !k.model.may(f, value) {
		k.wrong(f, "is %q; the last writes were %s", value, k.model.tell(f))
	}
	k.model.found(f, value)
}

// manifest reads one by digest, and the blobs that it names.
func (k *checker) manifest(f fact) {
	it := k.model.item(f)
	bytes := fakehub.Bytes(it.manifest.Bytes)
	a := k.by.get(manifestPath(f.repo, f.name), bytes)
	if a.status == http.StatusNotFound {
		k.expect(f, absent)
		if it.absences++; it.absences > 4 {
			k.model.forget(f)
		}
		return
	}
	if err := a.right(bytes); err != nil {
		k.wrong(f, "%v", err)
		return
	}
	k.expect(f, present)
	k.visible[f], it.absences = true, 0
	for _, b := range it.blobs {
		whole := blobFact(f.repo, b.Digest)
		if k.whole[whole] {
			continue
		}
		k.whole[whole] = true
		if err := k.by.get(blobPath(f.repo, b.Digest), b.Content).right(b.Content); err != nil {
			k.wrong(f, "its blob %s of %d bytes: %v", b.Digest, b.Size, err)
		}
	}
}

// blob reads one that may have been collected, unless a manifest names it.
func (k *checker) blob(f fact) {
	if k.whole[f] {
		return
	}
	b := k.model.blob(f)
	a := k.by.get(blobPath(f.repo, b.Digest), b.Content)
	if a.status == http.StatusNotFound {
		k.model.forget(f)
		return
	}
	if err := a.right(b.Content); err != nil {
		k.wrong(f, "%v", err)
		return
	}
	k.expect(f, present)
}

// tags reads each tag, and then the list of them.
func (k *checker) tags(repo string) {
	var want []string
	for _, tag := range crashTags {
		f := tagFact(repo, tag)
		a := k.by.get(manifestPath(repo, tag), nil)
		if a.status == http.StatusNotFound {
			k.expect(f, absent)
			continue
		}
		want = append(want, tag)
		d := a.header.Get("Docker-Content-Digest")
		if a.status != http.StatusOK || a.err != nil || digest.FromBytes(a.body).String() != d {
			k.wrong(f, "status %d, %v, digest %q, body %.300s", a.status, a.err, d, a.body)
			continue
		}
		k.expect(f, d)
		if !k.visible[fact{"manifest", repo, d}] {
			k.wrong(f, "points to %s, which is not served by digest", d)
		}
	}
	a := k.by.get("/v2/"+repo+"/tags/list", nil)
	var got struct{ Tags []string }
	if a.status != http.StatusNotFound || want != nil {
		k.decode(a, &got)
	}
	if k.when == afterKill { // a tag whose push met the deletion of its manifest may lead nowhere until it is collected
		got.Tags = slices.DeleteFunc(got.Tags, func(tag string) bool { return slices.Contains(crashTags, tag) && !slices.Contains(want, tag) })
	}
	if slices.Sort(want); !slices.Equal(got.Tags, want) {
		k.Errorf("%s: %s lists the tags %q, and serves %q", k.when, repo, got.Tags, want)
	}
}

// referrers reads the list of each subject.
func (k *checker) referrers(repo string) {
	want := map[digest.Digest][]string{}
	for _, f := range k.model.all("manifest") {
		it := k.model.item(f)
		if f.repo != repo || it.subject == "" {
			continue
		}
		known := want[it.subject]
		if k.visible[f] {
			known = append(known, f.name)
		}
		want[it.subject] = known
	}
	for subject, referrers := range want {
		var index ocispec.Index
		k.decode(k.by.get("/v2/"+repo+"/referrers/"+subject.String(), nil), &index)
		var got []string
		for _, d := range index.Manifests {
			got = append(got, d.Digest.String())
		}
		slices.Sort(got)
		if !slices.Equal(got, referrers) {
			k.Errorf("%s: %s lists the referrers %q of %s, and serves %q", k.when, repo, got, subject, referrers)
		}
	}
}

func (k *checker) catalog() {
	var got struct{ Repositories []string }
	k.decode(k.by.get("/v2/_catalog", nil), &got)
	if !slices.IsSorted(got.Repositories) {
		k.Errorf("%s: the catalog is not in order: %q", k.when, got.Repositories)
	}
	for f := range k.visible {
		if !slices.Contains(got.Repositories, f.repo) {
			k.wrong(f, "is served, and the catalog has only %q", got.Repositories)
		}
	}
	for _, repo := range got.Repositories {
		if !slices.Contains(crashRepos, repo) {
			k.Errorf("%s: the catalog lists %q, which nobody pushed", k.when, repo)
		}
	}
}

func (k *checker) decode(a answer, into any) {
	if a.status != http.StatusOK || a.err != nil {
		k.Errorf("%s: status %d, %v: %.300s", k.when, a.status, a.err, a.body)
		return
	}
	if err := json.Unmarshal(a.body, into); err != nil {
		k.Errorf("%s: %v in %.300s", k.when, err, a.body)
	}
}

// resumeUploads goes on with what the kill broke off, from where the server says that it ends.
func (c *crash) resumeUploads() {
	for _, u := range c.open {
		a := c.client.get(u.at, nil)
		if a.status == http.StatusNotFound {
			if !u.closing && !c.collecting {
				c.Errorf("the upload of %s with %d acknowledged bytes is gone", u.blob.Digest, u.acked)
			}
			continue
		}
		end, at, err := uploadEnd(a)
		if err != nil || end < u.acked || end > u.sent {
			c.Errorf("the upload of %s ends at %d, %v; %d bytes were acknowledged and %d sent", u.blob.Digest, end, err, u.acked, u.sent)
			continue
		}
		changes := c.model.beginBlob(u.repo, u.blob, present)
		a = c.ask(http.MethodPut, withDigest(at, u.blob.Digest), section(u.blob.Content, end, u.blob.Size), u.blob.Size-end)
		c.model.end(changes, c.outcome(a, http.StatusCreated))
		if err := c.client.get(blobPath(u.repo, u.blob.Digest), u.blob.Content).right(u.blob.Content); err != nil {
			c.Errorf("%v after the upload of %d bytes went on at %d, status %d: %.300s; %d were acknowledged and %d sent, closing: %t",
				err, u.blob.Size, end, a.status, a.body, u.acked, u.sent, u.closing)
		}
		c.resumed.Add(1)
	}
	c.open = nil
}

// uploadEnd reads the answer to a status request: how much is there, and where to go on. Of an upload without a byte some
// say "0-0", which none of these tests has for one byte.
func uploadEnd(a answer) (end int64, at string, err error) {
	if a.status != http.StatusNoContent {
		return 0, "", fmt.Errorf("status %d, %v: %.300s", a.status, a.err, a.body)
	}
	if at, err = a.location(); err != nil {
		return 0, "", err
	}
	text := a.header.Get("Range")
	if text == "" || text == "0-0" {
		return 0, at, nil
	}
	_, err = fmt.Sscanf(text, "0-%d", &end)
	return end + 1, at, err
}
