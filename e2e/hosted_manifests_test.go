package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/entrepot/entrepot/e2e/fakehub"
)

const exampleType = "application/vnd.example.thing.v1+json"

// emptyJSON is the config of artifacts that have none.
func (s site) emptyJSON(repo string) ocispec.Descriptor {
	s.Helper()
	d := s.push(repo, []byte("{}"))
	d.MediaType = ocispec.MediaTypeEmptyJSON
	return d
}

// documents are manifests of every kind whose blobs the repository has.
func (s site) documents(repo string) map[string]fakehub.Manifest {
	config, layer, empty := s.push(repo, []byte(`{"architecture":"amd64"}`)), s.push(repo, noise(1, 1000)), s.emptyJSON(repo)
	config.MediaType, layer.MediaType = ocispec.MediaTypeImageConfig, ocispec.MediaTypeImageLayer
	config512, layer512 := s.pushAs(digest.SHA512, repo, []byte("{}")), s.pushAs(digest.SHA512, repo, noise(2, 1000))
	withData := layer
	withData.Data = noise(1, 1000)
	foreign, foreign512 := layer, layer
	foreign.MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	foreign.Digest, foreign.URLs = digest.FromString("it is elsewhere"), []string{"https://layers.example/1"}
	foreign512.MediaType, foreign512.Digest = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", digest.SHA512.FromString("elsewhere")
	missing := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("nobody has it"), Size: 1234,
		Platform: &ocispec.Platform{OS: "linux", Architecture: "riscv64"}}
	image := manifestOf(config, layer)
	s.accepted("push a child", s.put(repo, image.Digest.String(), image), http.StatusCreated)
	typed := func(d ocispec.Descriptor, mediaType string) ocispec.Descriptor { d.MediaType = mediaType; return d }
	list := func(d ...ocispec.Descriptor) []ocispec.Descriptor { return append([]ocispec.Descriptor{}, d...) }
	oci := func(fields map[string]any) fakehub.Manifest {
		return jsonManifest(ocispec.MediaTypeImageManifest, fields)
	}
	index := func(fields map[string]any) fakehub.Manifest { return jsonManifest(ocispec.MediaTypeImageIndex, fields) }
	return map[string]fakehub.Manifest{
		"image":                        image,
		"image of sha512":              manifestOf(config512, layer512),
		"image of both":                manifestOf(config, layer512, layer),
		"docker image":                 jsonManifest(fakehub.DockerManifest, map[string]any{"config": typed(config, fakehub.DockerConfig), "layers": list(typed(layer, fakehub.DockerLayer))}),
		"image without layers":         manifestOf(config),
		"the same layer twice":         manifestOf(config, layer, layer),
		"layer with its data":          oci(map[string]any{"config": config, "layers": list(withData)}),
		"foreign layers":               oci(map[string]any{"config": config, "layers": list(layer, foreign, foreign512)}),
		"artifact of a type":           oci(map[string]any{"config": empty, "layers": list(empty), "artifactType": exampleType}),
		"artifact by its config":       oci(map[string]any{"config": typed(config, "application/vnd.cncf.helm.config.v1+json"), "layers": list(layer)}),
		"annotations":                  oci(map[string]any{"config": config, "layers": list(layer), "annotations": map[string]string{"org.example.key": "välue <&>"}}),
		"unknown fields":               oci(map[string]any{"config": config, "layers": list(layer), "com.example": map[string]any{"config": 1}, "newer": []int{1}}),
		"large":                        oci(map[string]any{"config": config, "layers": list(layer), "annotations": map[string]string{"pad": strings.Repeat("a", 4<<20-2000)}}),
		"index":                        index(map[string]any{"manifests": list(image.Descriptor)}),
		"docker list":                  jsonManifest(fakehub.DockerList, map[string]any{"manifests": list(image.Descriptor)}),
		"index of nothing":             index(map[string]any{"manifests": list()}),
		"index of indexes":             index(map[string]any{"manifests": list(typed(image.Descriptor, ocispec.MediaTypeImageIndex), image.Descriptor)}),
		"sparse index":                 index(map[string]any{"manifests": list(image.Descriptor, missing)}),
		"index of a type":              index(map[string]any{"manifests": list(image.Descriptor), "artifactType": exampleType}),
		"index of layers":              index(map[string]any{"manifests": list(layer, config)}), // buildkit's cache
		"artifact manifest of a draft": jsonManifest("application/vnd.oci.artifact.manifest.v1+json", map[string]any{"artifactType": exampleType, "blobs": list(layer)}),
		"image that tells no type":     untyped(image),
	}
}

// untyped is a document without its mediaType field.
func untyped(m fakehub.Manifest) fakehub.Manifest {
	var doc map[string]any
	if err := json.Unmarshal(m.Bytes, &doc); err != nil {
		panic(err)
	}
	delete(doc, "mediaType")
	b, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	return fakehub.NewManifest(m.MediaType, b)
}

func TestManifestsOfEveryKind(t *testing.T) { everywhere(t, manifestsOfEveryKind) }

func manifestsOfEveryKind(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	for name, m := range s.documents("team/app") {
		t.Run(name, func(t *testing.T) {
			s, tag := s.in(t), strings.ReplaceAll(name, " ", "_")
			d256, d512 := m.Digest, digest.SHA512.FromBytes(m.Bytes)
			for ref, d := range map[string]digest.Digest{tag: d256, d256.String(): d256, d512.String(): d512} {
				a := s.accepted("push", s.put("team/app", ref, m), http.StatusCreated)
				s.has("push", a, "Docker-Content-Digest", d.String(), "Location", manifestPath("team/app", d.String()), "OCI-Tag", "", "OCI-Subject", "")
				s.keeps(manifestPath("team/app", ref), d, m.Bytes)
				s.has("pull", s.ask(http.MethodGet, s.at(a), nil), "Content-Type", m.MediaType)
				s.has("pull by HEAD", s.ask(http.MethodHead, s.at(a), nil), "Content-Type", m.MediaType)
			}
		})
	}
}

func TestContentTypeOfAPush(t *testing.T) {
	t.Parallel()
	s := newRegistry(t)
	m := manifestOf(s.push("team/app", []byte("{}")))
	for _, q := range []struct {
		contentType string
		status      int
	}{
		{m.MediaType, http.StatusCreated},
		{m.MediaType + "; charset=utf-8", http.StatusCreated},
		{m.MediaType + ";charset=\"", http.StatusCreated}, // parameters are ignored
		{"", http.StatusCreated},
		{fakehub.DockerManifest, http.StatusBadRequest},
		{ocispec.MediaTypeImageIndex, http.StatusBadRequest},
		{"application/json", http.StatusBadRequest},
		{"nonsense", http.StatusBadRequest},
	} {
		var header []string
		if q.contentType != "" {
			header = []string{"Content-Type", q.contentType}
		}
		a := s.ask(http.MethodPut, manifestPath("team/app", "latest"), m.Bytes, header...)
		if a.status != q.status {
			t.Errorf("Content-Type %q: status %d: %.200s; want %d", q.contentType, a.status, a.body, q.status)
		}
	}
	s.has("pull", s.ask(http.MethodGet, manifestPath("team/app", "latest"), nil), "Content-Type", m.MediaType)
}

func TestRefusedManifests(t *testing.T) { everywhere(t, refusedManifests) }

func refusedManifests(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	repo := "team/app"
	config, layer := s.push(repo, []byte("{}")), s.push(repo, noise(1, 1000))
	elsewhere := s.push("team/other", noise(2, 1000))
	image := manifestOf(config, layer)
	with := func(fields map[string]any) fakehub.Manifest {
		all := map[string]any{"config": config, "layers": []ocispec.Descriptor{layer}}
		for k, v := range fields {
			all[k] = v
		}
		return jsonManifest(ocispec.MediaTypeImageManifest, all)
	}
	raw := func(format string, args ...any) fakehub.Manifest {
		return fakehub.NewManifest(ocispec.MediaTypeImageManifest, fmt.Appendf(nil, format, args...))
	}
	changed := func(d ocispec.Descriptor, change func(*ocispec.Descriptor)) ocispec.Descriptor { change(&d); return d }
	configJSON, _ := json.Marshal(config)
	for name, q := range map[string]struct {
		m      fakehub.Manifest
		status int
		code   string
	}{
		"a layer is missing":             {manifestOf(config, changed(layer, func(d *ocispec.Descriptor) { d.Digest = digest.FromString("a") })), 404, "MANIFEST_BLOB_UNKNOWN"},
		"the config is missing":          {manifestOf(changed(config, func(d *ocispec.Descriptor) { d.Digest = digest.FromString("a") }), layer), 404, "MANIFEST_BLOB_UNKNOWN"},
		"another repository has a layer": {manifestOf(config, elsewhere), 404, "MANIFEST_BLOB_UNKNOWN"},
		"data without the blob":          {manifestOf(config, changed(layer, func(d *ocispec.Descriptor) { d.Digest, d.Data = digest.FromString("a"), []byte("a") })), 404, "MANIFEST_BLOB_UNKNOWN"},
		"a wrong size":                   {manifestOf(config, changed(layer, func(d *ocispec.Descriptor) { d.Size++ })), 400, "MANIFEST_INVALID"},
		"a negative size":                {manifestOf(config, changed(layer, func(d *ocispec.Descriptor) { d.Size = -1 })), 400, "MANIFEST_INVALID"},
		"a malformed digest":             {manifestOf(config, changed(layer, func(d *ocispec.Descriptor) { d.Digest = "sha256:abc" })), 400, "MANIFEST_INVALID"},
		"a path as digest":               {manifestOf(config, changed(layer, func(d *ocispec.Descriptor) { d.Digest = "sha256:../../../../etc/passwd" })), 400, "MANIFEST_INVALID"},
		"an unknown algorithm":           {manifestOf(config, changed(layer, func(d *ocispec.Descriptor) { d.Digest = "md5:d41d8cd98f00b204e9800998ecf8427e" })), 400, "MANIFEST_INVALID"},
		"image and index at once":        {with(map[string]any{"manifests": []any{}}), 400, "MANIFEST_INVALID"},
		"no config":                      {with(map[string]any{"config": nil}), 400, "MANIFEST_INVALID"},
		"another version":                {with(map[string]any{"schemaVersion": 1}), 400, "MANIFEST_INVALID"},
		"layers that are no list":        {with(map[string]any{"layers": "none"}), 400, "MANIFEST_INVALID"},
		"a malformed subject":            {with(map[string]any{"subject": map[string]any{"digest": "sha256:x"}}), 400, "MANIFEST_INVALID"},
		"a field twice":                  {raw(`{"schemaVersion":2,"config":%s,"layers":[],"layers":[]}`, configJSON), 400, "MANIFEST_INVALID"},
		"schema 1":                       {fakehub.NewManifest("application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1,"name":"team/app","tag":"1","fsLayers":[],"history":[]}`)), 400, "MANIFEST_INVALID"},
		"not JSON":                       {raw("hello"), 400, "MANIFEST_INVALID"},
		"more than JSON":                 {raw("%s{}", image.Bytes), 400, "MANIFEST_INVALID"},
		"cut JSON":                       {raw("%s", image.Bytes[:len(image.Bytes)-3]), 400, "MANIFEST_INVALID"},
		"an empty object":                {raw("{}"), 400, "MANIFEST_INVALID"},
		"null":                           {raw("null"), 400, "MANIFEST_INVALID"},
		"no byte":                        {raw(""), 400, "MANIFEST_INVALID"},
		"deeply nested":                  {raw(`{"schemaVersion":2,"a":%s}`, strings.Repeat("[", 100_000)), 400, "MANIFEST_INVALID"},
		"a byte too long":                {raw("%s%s", image.Bytes, bytes.Repeat([]byte(" "), 4<<20+1-len(image.Bytes))), 413, "MANIFEST_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.refused("by tag", s.put(repo, "latest", q.m), q.status, q.code)
			s.refused("by digest", s.put(repo, q.m.Digest.String(), q.m), q.status, q.code)
			s.refused("with tags", s.put(repo, q.m.Digest.String()+"?tag=one", q.m), q.status, q.code)
			s.absent(manifestPath(repo, "latest"), manifestPath(repo, "one"), manifestPath(repo, q.m.Digest.String()))
		})
	}
	s.refused("tags", s.ask(http.MethodGet, "/v2/team/app/tags/list", nil), 404, "NAME_UNKNOWN")
	longest := raw("%s%s", image.Bytes, bytes.Repeat([]byte(" "), 4<<20-len(image.Bytes)))
	s.accepted("the longest manifest", s.put(repo, "longest", longest), http.StatusCreated)
	s.keeps(manifestPath(repo, "longest"), longest.Digest, longest.Bytes)
}

func TestManifestMustHaveTheDigestOfItsPath(t *testing.T) {
	everywhere(t, manifestMustHaveTheDigestOfItsPath)
}

func manifestMustHaveTheDigestOfItsPath(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	m, other := manifestOf(s.push("team/app", []byte("{}"))), digest.FromString("other")
	for _, d := range []digest.Digest{other, digest.SHA512.FromString("other")} {
		s.refused(d.String(), s.put("team/app", d.String(), m), 400, "DIGEST_INVALID")
		s.refused("with a tag", s.put("team/app", d.String()+"?tag=x", m), 400, "DIGEST_INVALID")
		s.absent(manifestPath("team/app", d.String()), manifestPath("team/app", "x"))
	}
}

func TestManyTagsAtOnce(t *testing.T) { everywhere(t, manyTagsAtOnce) }

func manyTagsAtOnce(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	m := manifestOf(s.push("team/app", []byte("{}")))
	tags := func(from, to int) (query string, names []string) {
		for i := from; i < to; i++ {
			names = append(names, fmt.Sprintf("v%03d", i))
		}
		return "?tag=" + strings.Join(names, "&tag="), names
	}
	few, fewNames := tags(0, 12)
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		d := alg.FromBytes(m.Bytes)
		a := s.accepted("12 tags", s.put("team/app", d.String()+few+"&tag=v000", m), http.StatusCreated)
		s.has("12 tags", a, "Docker-Content-Digest", d.String(), "Location", manifestPath("team/app", d.String()))
		if got := a.header.Values("OCI-Tag"); !slices.Equal(got, fewNames) {
			t.Errorf("OCI-Tag %v, want %v", got, fewNames)
		}
		for _, tag := range append(fewNames, d.String()) {
			s.keeps(manifestPath("team/app", tag), d, m.Bytes)
		}
	}
	most, mostNames := tags(100, 200)
	a := s.accepted("100 tags", s.put("team/app", m.Digest.String()+most, m), http.StatusCreated)
	if got := a.header.Values("OCI-Tag"); !slices.Equal(got, mostNames) {
		t.Errorf("%d tags, want %d", len(got), len(mostNames))
	}
	tooMany, _ := tags(300, 401)
	s.refused("101 tags", s.put("team/app", m.Digest.String()+tooMany, m), http.StatusRequestURITooLong, "MANIFEST_INVALID")
	for _, tag := range []string{"", "a/b", ".x", "-x", "a:b", strings.Repeat("x", 129), "%00", "v\u00e9"} {
		s.refused("tag "+tag, s.put("team/app", m.Digest.String()+"?tag=good&tag="+tag, m), 400, "MANIFEST_INVALID")
	}
	s.absent(manifestPath("team/app", "good"), manifestPath("team/app", "v300"))
}

func TestSubjectIsAnswered(t *testing.T) { everywhere(t, subjectIsAnswered) }

func subjectIsAnswered(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	empty := s.emptyJSON("team/app")
	for _, subject := range []digest.Digest{digest.FromString("nobody has it"), digest.SHA512.FromString("nobody has it")} {
		fields := map[string]any{"subject": ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: subject, Size: 10}}
		index := jsonManifest(ocispec.MediaTypeImageIndex, map[string]any{"subject": fields["subject"], "manifests": []any{}})
		fields["config"], fields["layers"] = empty, []ocispec.Descriptor{empty}
		image := jsonManifest(ocispec.MediaTypeImageManifest, fields)
		for name, m := range map[string]fakehub.Manifest{"image": image, "index": index} {
			for _, ref := range []string{name, m.Digest.String(), digest.SHA512.FromBytes(m.Bytes).String()} {
				s.has(ref, s.accepted(ref, s.put("team/app", ref, m), http.StatusCreated), "OCI-Subject", subject.String())
			}
		}
	}
}

func TestTagMoves(t *testing.T) { everywhere(t, tagMoves) }

func tagMoves(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	first, second := s.pushImage("team/app", "latest", 1), s.pushImage("team/app", "latest", 2)
	s.keeps(manifestPath("team/app", "latest"), second.Digest, second.Bytes)
	s.keeps(manifestPath("team/app", first.Digest.String()), first.Digest, first.Bytes)
	s.pushImage("team/app", "latest", 1)
	s.keeps(manifestPath("team/app", "latest"), first.Digest, first.Bytes)
}

// Every reader at any time sees one of the two values; in the end the tag is one of them for good.
func TestTwoWritersOfOneTag(t *testing.T) { everywhere(t, twoWritersOfOneTag) }

func twoWritersOfOneTag(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	images := []fakehub.Manifest{s.pushImage("team/app", "race", 1), s.pushImage("team/app", "race", 2)}
	is := func(a answer) bool {
		return slices.ContainsFunc(images, func(m fakehub.Manifest) bool {
			return bytes.Equal(a.body, m.Bytes) && a.header.Get("Docker-Content-Digest") == m.Digest.String()
		})
	}
	writers := make(chan error, len(images))
	for _, m := range images {
		go func() { // ends after its pushes
			var failed error
			for range 30 {
				if err := s.client.pushManifest(s.Context(), "team/app", "race", m); err != nil {
					failed = err
				}
			}
			writers <- failed
		}()
	}
	for left := len(images); left > 0; {
		select {
		case err := <-writers:
			if left--; err != nil {
				t.Error(err)
			}
		default:
			if a := s.ask(http.MethodGet, manifestPath("team/app", "race"), nil); !is(a) {
				t.Fatalf("status %d: %.200s", a.status, a.body)
			}
		}
	}
	last := s.ask(http.MethodGet, manifestPath("team/app", "race"), nil)
	if again := s.ask(http.MethodGet, manifestPath("team/app", "race"), nil); !is(last) || !bytes.Equal(last.body, again.body) {
		t.Errorf("%.200s, and then %.200s", last.body, again.body)
	}
}

// A client may give a blob's bytes in the descriptor too; they are neither needed nor believed.
func TestDataFieldIsKeptAsItIs(t *testing.T) { everywhere(t, dataFieldIsKeptAsItIs) }

func dataFieldIsKeptAsItIs(t *testing.T, newRegistry hosting) {
	t.Parallel()
	s := newRegistry(t)
	config := s.emptyJSON("team/app")
	config.Data = []byte("{}")
	m := manifestOf(config)
	s.accepted("push", s.put("team/app", "latest", m), http.StatusCreated)
	s.keeps(manifestPath("team/app", "latest"), m.Digest, m.Bytes)
	if !bytes.Contains(m.Bytes, []byte(base64.StdEncoding.EncodeToString([]byte("{}")))) {
		t.Error("the manifest has no data")
	}
}
