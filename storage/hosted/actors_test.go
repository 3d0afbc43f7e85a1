package hosted

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// testImage is a manifest and the blobs that it names.
type testImage struct {
	name     string
	bytes    []byte
	digest   digest.Digest
	subject  digest.Digest
	blobs    [][]byte
	children []*testImage
}

// cast is what a schedule pushes: few things, so that its actors meet.
type cast struct {
	images []*testImage
	blobs  [][]byte
	bucket bool // it is kept in a bucket
}

func newCast() *cast {
	x, y, empty := []byte("a layer that all have"), []byte("a layer of one"), []byte{}
	c := &cast{blobs: [][]byte{x, y, empty}}
	for _, blobs := range [][][]byte{{x}, {x, y}, {y, empty}} {
		b := imageOf(blobs...)
		c.images = append(c.images, &testImage{name: fmt.Sprint("image", len(c.images)), bytes: b, blobs: blobs})
	}
	first := c.images[0]
	first.digest = digest.FromBytes(first.bytes)
	described := fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d}`, first.digest, len(first.bytes))
	signature := bytes.Replace(imageOf(y), []byte(`{`), []byte(`{"subject":`+described+`,`), 1)
	list := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + described + `]}`)
	c.images = append(c.images,
		&testImage{name: "signature", bytes: signature, blobs: [][]byte{y}, subject: first.digest},
		&testImage{name: "index", bytes: list, children: []*testImage{first}})
	for _, m := range c.images {
		m.digest = digest.FromBytes(m.bytes)
	}
	return c
}

// expected are the errors that interleaving may cause.
func expected(err error) bool {
	for _, e := range []error{ErrBlobUnknown, ErrManifestUnknown, ErrUploadUnknown, ErrConflict} {
		if errors.Is(err, e) {
			return true
		}
	}
	return err == nil || errors.As(err, new(*MissingBlobError)) || errors.As(err, new(*OffsetError))
}

// did notes the outcome of an operation, and looks whether all that was acknowledged is there.
func (a *actor) did(what string, e *event, err error) error {
	a.w.step++
	a.w.trace = append(a.w.trace, traced{actor: a, note: fmt.Sprintf("%s: %v", what, err)})
	if !expected(err) {
		a.w.fail("%s: %s: %v", a.name, what, err)
	}
	if e != nil {
		e.end, e.err = a.w.step, err
		a.w.writes = -1
	}
	a.w.promises()
	return err
}

func (a *actor) began(e event) *event {
	e.begin = a.w.step
	a.w.events = append(a.w.events, &e)
	return &e
}

func (a *actor) push(repo string, m *testImage, tags ...string) error {
	e := a.began(event{kind: "put", repo: repo, digest: m.digest, tags: tags, image: m})
	_, err := a.repo(repo).PutManifest(context.Background(), ManifestPush{Bytes: m.bytes, Tags: tags})
	a.pause() // the answer may never be written
	return a.did(fmt.Sprint("put ", m.name, " as ", repo, tags), e, err)
}

// pushWhole does what clients do: it skips the blobs that a HEAD finds.
func (a *actor) pushWhole(way int, repo string, m *testImage, tags ...string) error {
	for _, child := range m.children {
		if err := a.pushWhole(way, repo, child); err != nil {
			return err
		}
	}
	for _, b := range m.blobs {
		_, err := a.repo(repo).RenewBlob(context.Background(), digest.FromBytes(b))
		if a.did("HEAD", nil, err); err != nil {
			_ = a.pushBlob(repo, b, way)
		}
	}
	return a.push(repo, m, tags...)
}

func (a *actor) send(b []byte) io.Reader { return body{a, bytes.NewReader(b)} }

// pushBlob pushes a blob in one of several ways.
func (a *actor) pushBlob(repo string, b []byte, way int) error {
	ctx, d, r := context.Background(), digest.FromBytes(b), a.repo(repo)
	if way == 0 {
		return a.did("push blob", nil, r.PushBlob(ctx, d, a.send(b), int64(len(b))))
	}
	id, err := r.StartUpload(ctx, digest.SHA256)
	if err != nil {
		return a.did("start upload", nil, err)
	}
	return a.upload(repo, id, b, []int{0, 0, len(b) / 2, len(b)}[way])
}

// upload sends the bytes up to middle as a chunk, and the rest with the commit.
func (a *actor) upload(repo, id string, b []byte, middle int) error {
	ctx, r := context.Background(), a.repo(repo)
	if middle > 0 {
		if _, err := r.AppendUpload(ctx, id, 0, a.send(b[:middle]), int64(middle)); err != nil {
			return a.did("append", nil, err)
		}
	}
	return a.commit(repo, id, b, middle)
}

func (a *actor) commit(repo, id string, b []byte, start int) error {
	err := a.repo(repo).CommitUpload(context.Background(), id, int64(start), a.send(b[start:]), -1, digest.FromBytes(b))
	return a.did("commit", nil, err)
}

// skip pushes a manifest as whoever has found its blobs with a HEAD.
func (a *actor) skip(repo string, m *testImage, tags ...string) {
	for _, b := range m.blobs {
		_, err := a.repo(repo).RenewBlob(context.Background(), digest.FromBytes(b))
		_ = a.did("HEAD", nil, err)
	}
	_ = a.push(repo, m, tags...)
}

func (a *actor) mount(repo, from string, m *testImage, tags ...string) {
	for _, b := range m.blobs {
		_ = a.did("mount", nil, a.mountBlob(repo, from, digest.FromBytes(b)))
	}
	_ = a.push(repo, m, tags...)
}

func (a *actor) mountBlob(repo, from string, d digest.Digest) (err error) {
	if from == "" {
		_, err = a.repo(repo).MountAny(context.Background(), d, nil)
	} else {
		_, err = a.repo(repo).MountBlob(context.Background(), d, from)
	}
	return err
}

// share goes on with an upload of repository a that others go on with too.
func (a *actor) share(b []byte, what, retries int) {
	ctx, r := context.Background(), a.repo("a")
	if len(a.w.shared) == 0 {
		id, err := r.StartUpload(ctx, digest.SHA256)
		if err != nil {
			_ = a.did("start upload", nil, err)
			return
		}
		a.w.shared = append(a.w.shared, id)
	}
	id := a.w.shared[0]
	switch what {
	case 0:
		_ = a.did("cancel", nil, r.CancelUpload(ctx, id))
	case 1:
		_, err := r.AppendUpload(ctx, id, 0, a.send(b), -1)
		_ = a.did("append", nil, err)
	default:
		_ = a.upload("a", id, b, len(b)*(what%2))
		for range retries {
			_ = a.commit("a", id, b, len(b))
		}
	}
}

func (a *actor) deleteBlob(repo string, b []byte) {
	e := a.began(event{kind: "delete blob", repo: repo, digest: digest.FromBytes(b)})
	_ = a.did("delete blob of "+repo, e, a.repo(repo).DeleteBlob(context.Background(), e.digest))
}

func (a *actor) deleteTag(repo, tag string) {
	e := a.began(event{kind: "delete tag", repo: repo, tags: []string{tag}})
	_ = a.did("delete tag "+repo+" "+tag, e, a.repo(repo).DeleteTag(context.Background(), tag))
}

func (a *actor) deleteManifest(repo string, m *testImage) {
	e := a.began(event{kind: "delete manifest", repo: repo, digest: m.digest})
	_ = a.did("delete "+m.name+" of "+repo, e, a.repo(repo).DeleteManifest(context.Background(), m.digest))
}

func (a *actor) collect(runs int, grace time.Duration) {
	for range runs {
		_, err := a.g.Collect(context.Background(), CollectOptions{Grace: grace, Full: true})
		_ = a.did("collect", nil, err)
	}
}

// read reads a blob as it is served, with everybody else going on meanwhile.
func (a *actor) read(repo string, b []byte) {
	ctx, d := context.Background(), digest.FromBytes(b)
	blob, err := a.repo(repo).Blob(ctx, d)
	if err != nil {
		_ = a.did("read", nil, err)
		return
	}
	var got []byte
	in, err := blob.Open(ctx, 0, blob.Size)
	if err == nil {
		got, err = io.ReadAll(in)
		in.Close()
	}
	if err == nil && !bytes.Equal(got, b) {
		a.w.fail("%s read %q, want %q", a.name, got, b)
	}
	rec, _, _ := readAs[blobRecord](ctx, a.w.g, blobKey(d))
	if err != nil && rec.usable() && slices.Equal(rec.Parts, blob.parts) {
		a.w.fail("%s could not read a blob that has not ended: %v", a.name, err)
	}
}
