package hosted

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	ociManifest = ocispec.MediaTypeImageManifest
	ociIndex    = ocispec.MediaTypeImageIndex
)

func dg(name string) digest.Digest { return digest.FromString(name) }

// desc is the descriptor of the blob whose content is name.
func desc(mediaType, name string, more ...string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, mediaType, dg(name), len(name), strings.Join(more, ""))
}

const gzipLayer = `application/vnd.oci.image.layer.v1.tar+gzip`

// ociImage is an image manifest with more members.
func ociImage(more string) string {
	return `{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":` + desc(ocispec.MediaTypeImageConfig, "config") +
		`,"layers":[` + desc(gzipLayer, "layer") + `]` + more + `}`
}

func indexOf(entries ...string) string {
	return `{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` + strings.Join(entries, ",") + `]}`
}

func TestWhatAManifestNames(t *testing.T) {
	const (
		foreign   = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
		private   = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
		cosign    = "application/vnd.dev.cosign.simplesigning.v1+json"
		vendor    = "application/vnd.example.thing.v1+json"
		layerOf   = "application/vnd.docker.image.rootfs.diff.tar.gzip"
		buildkit  = "application/vnd.buildkit.cacheconfig.v0"
		chartType = "application/vnd.cncf.helm.config.v1+json"
	)
	for _, c := range []struct {
		name, declared, doc string

		mediaType               string
		blobs, manifests, named []string
		subject                 string
		kind                    string // as a referrer
	}{
		{"an image", ociManifest, ociImage(""),
			ociManifest, []string{"config", "layer"}, nil, []string{"config", "layer"}, "", ocispec.MediaTypeImageConfig},
		{"of docker", dockerManifest,
			`{"schemaVersion":2,"mediaType":"` + dockerManifest + `","config":` + desc("application/vnd.docker.container.image.v1+json", "config") +
				`,"layers":[` + desc(layerOf, "a") + `,` + desc(layerOf, "b") + `]}`,
			dockerManifest, []string{"config", "a", "b"}, nil, []string{"config", "a", "b"}, "", "application/vnd.docker.container.image.v1+json"},
		{"of docker for several platforms", dockerList,
			`{"schemaVersion":2,"mediaType":"` + dockerList + `","manifests":[` + desc(dockerManifest, "a", `,"platform":{"os":"linux","architecture":"amd64"}`) + `]}`,
			dockerList, nil, []string{"a"}, []string{"a"}, "", ""},
		{"of docker without media types of layers", dockerManifest,
			`{"schemaVersion":2,"config":` + desc("", "config") + `,"layers":[` + desc("", "a") + `]}`,
			dockerManifest, []string{"config", "a"}, nil, []string{"config", "a"}, "", ""},
		{"a chart, that does not say what it is", ociManifest,
			`{"schemaVersion":2,"config":` + desc(chartType, "chart") + `,"layers":[` + desc("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "tgz") +
				`],"annotations":{"org.opencontainers.image.title":"x"}}`,
			ociManifest, []string{"chart", "tgz"}, nil, []string{"chart", "tgz"}, "", chartType},
		{"a signature by tag", ociManifest,
			`{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":` + desc(ocispec.MediaTypeImageConfig, "config") +
				`,"layers":[` + desc(cosign, "payload", `,"annotations":{"dev.cosignproject.cosign/signature":"MEU="}`) + `]}`,
			ociManifest, []string{"config", "payload"}, nil, []string{"config", "payload"}, "", ocispec.MediaTypeImageConfig},
		{"a signature with a subject", ociManifest,
			ociImage(`,"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json","subject":` + desc(ociManifest, "image")),
			ociManifest, []string{"config", "layer"}, nil, []string{"config", "layer"}, "image", "application/vnd.dev.sigstore.bundle.v0.3+json"},
		{"an artifact whose parts are all the empty blob", ociManifest,
			`{"schemaVersion":2,"mediaType":"` + ociManifest + `","artifactType":"` + vendor + `","config":` +
				desc(ocispec.MediaTypeEmptyJSON, "{}", `,"data":"e30="`) + `,"layers":[` + desc(ocispec.MediaTypeEmptyJSON, "{}", `,"data":"e30="`) + `]}`,
			ociManifest, []string{"{}"}, nil, []string{"{}"}, "", vendor},
		{"a build cache", ociIndex,
			`{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` +
				desc(gzipLayer, "a", `,"annotations":{"buildkit/createdat":"2026-01-01T00:00:00Z"}`) + `,` + desc(buildkit, "cache") + `]}`,
			ociIndex, nil, []string{"a", "cache"}, []string{"a", "cache"}, "", ""},
		{"an artifact manifest", artifactManifest,
			`{"mediaType":"` + artifactManifest + `","artifactType":"` + vendor + `","blobs":[` + desc(vendor, "a") + `],"subject":` + desc(ociManifest, "image") + `}`,
			artifactManifest, []string{"a"}, nil, []string{"a"}, "image", vendor},
		{"an artifact manifest without blobs", artifactManifest, `{"artifactType":"` + vendor + `"}`,
			artifactManifest, nil, nil, nil, "", vendor},
		{"an index that is a referrer has a type only if it says so", ociIndex,
			`{"schemaVersion":2,"manifests":[],"subject":` + desc(ociManifest, "image") + `}`, ociIndex, nil, nil, nil, "image", ""},
		{"an empty index, as Go writes it", ociIndex, `{"schemaVersion":2,"manifests":null}`, ociIndex, nil, nil, nil, "", ""},
		{"an image without layers, as Go writes it", ociManifest,
			`{"schemaVersion":2,"config":` + desc(vendor, "config") + `,"layers":null,"subject":null,"annotations":null}`,
			ociManifest, []string{"config"}, nil, []string{"config"}, "", vendor},
		{"another kind of image", vendor, `{"config":` + desc(vendor, "config") + `,"layers":[]}`,
			vendor, []string{"config"}, nil, []string{"config"}, "", vendor},
		{"another kind of index", vendor, `{"manifests":[` + desc(vendor, "a") + `]}`, vendor, nil, []string{"a"}, []string{"a"}, "", ""},
		{"plain JSON", "application/json", `{"blobs":[` + desc(vendor, "a") + `]}`,
			"application/json", []string{"a"}, nil, []string{"a"}, "", ""},
		{"an image of no type at all", "", `{"schemaVersion":2,"config":` + desc(vendor, "config") + `,"layers":[]}`,
			ociManifest, []string{"config"}, nil, []string{"config"}, "", vendor},
		{"an index of no type at all", "", `{"schemaVersion":2,"manifests":[]}`, ociIndex, nil, nil, nil, "", ""},
		{"its own type alone", "", indexOf(desc(ociManifest, "a")), ociIndex, nil, []string{"a"}, []string{"a"}, "", ""},
		{"a declared type with parameters", ociIndex + "; charset=utf-8", indexOf(), ociIndex, nil, nil, nil, "", ""},
		{"a declared type with bad parameters", ociIndex + ";;charset", indexOf(), ociIndex, nil, nil, nil, "", ""},
		{"a declared type in other case", strings.ToUpper(ociIndex), indexOf(), ociIndex, nil, nil, nil, "", ""},
		{"foreign layers need not be there", dockerManifest,
			`{"schemaVersion":2,"config":` + desc(vendor, "config") + `,"layers":[` + desc(foreign, "f") + `,` + desc(private, "p") + `,` +
				desc(gzipLayer, "u", `,"urls":["https://example.com/u"]`) + `,` + desc(gzipLayer, "a", `,"urls":[]`) + `]}`,
			dockerManifest, []string{"config", "a"}, nil, []string{"config", "f", "p", "u", "a"}, "", vendor},
		{"a foreign layer that is a layer too has to be there", ociManifest,
			ociImage("")[:len(ociImage(""))-2] + `,` + desc(foreign, "layer") + `]}`,
			ociManifest, []string{"config", "layer"}, nil, []string{"config", "layer"}, "", ocispec.MediaTypeImageConfig},
		{"a config is never foreign", ociManifest, `{"schemaVersion":2,"config":` + desc(foreign, "config", `,"urls":["x"]`) + `}`,
			ociManifest, []string{"config"}, nil, []string{"config"}, "", foreign},
		{"one manifest for two platforms", ociIndex, indexOf(desc(ociManifest, "a"), desc(ociManifest, "b"), desc(ociManifest, "a")),
			ociIndex, nil, []string{"a", "b"}, []string{"a", "b"}, "", ""},
		{"keys that nobody knows", ociIndex, `{"schemaVersion":2,"manifests":[],"x":{"a":[1,{}],"a":2},"reads":null}`, ociIndex, nil, nil, nil, "", ""},
		{"annotations whose keys differ in case", ociIndex, `{"schemaVersion":2,"manifests":[],"annotations":{"a":"1","A":"2"}}`, ociIndex, nil, nil, nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := parseDocument(c.declared, []byte(c.doc))
			if err != nil {
				t.Fatal(err)
			}
			if d.mediaType != c.mediaType {
				t.Errorf("media type %s, want %s", d.mediaType, c.mediaType)
			}
			wantDescriptors(t, "blobs", d.blobs, c.blobs)
			wantDescriptors(t, "manifests", d.manifests, c.manifests)
			var want []digest.Digest
			for _, name := range c.named {
				want = append(want, dg(name))
			}
			if !slices.Equal(d.named, want) {
				t.Errorf("named %v, want %v", d.named, want)
			}
			if (d.subject == nil) != (c.subject == "") || d.subject != nil && d.subject.Digest != dg(c.subject) {
				t.Errorf("subject %v, want %q", d.subject, c.subject)
			}
			if got := d.referrer("x", 1).ArtifactType; got != c.kind {
				t.Errorf("as a referrer it is a %q, want %q", got, c.kind)
			}
		})
	}
}

func wantDescriptors(t *testing.T, what string, got []ocispec.Descriptor, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d, want %q", what, len(got), want)
	}
	for i, name := range want {
		if got[i].Digest != dg(name) || got[i].Size != int64(len(name)) {
			t.Errorf("%s: %v, want %q", what, got[i], name)
		}
	}
}

func TestWhatIsNoManifest(t *testing.T) {
	a := desc(gzipLayer, "a")
	configured := `{"schemaVersion":2,"config":` + a + `,"layers":[%s]}`
	for _, c := range []struct{ name, declared, doc, says string }{
		{"nothing", ociManifest, ``, "not JSON"},
		{"no JSON", ociManifest, `{"schemaVersion":2,`, "not JSON"},
		{"a list", ociManifest, `[{}]`, "JSON array"},
		{"null", ociManifest, `null`, "null"},
		{"two documents", ociManifest, ociImage("") + ociImage(""), "not JSON"},
		{"text behind it", ociManifest, ociImage("") + "x", "not JSON"},
		{"other text than UTF-8", ociManifest, ociImage(",\"x\":\"\xff\""), "UTF-8"},
		{"too deep", ociManifest, ociImage(`,"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)), "not JSON"},
		{"too many descriptors", ociIndex, indexOf(strings.Repeat("{},", maxDescriptors) + "{}"), "descriptors"},
		{"too many members", ociManifest, ociImage(manyMembers(maxMembers)), "members"},

		{"declared as something else", ociIndex, ociImage(""), "declared as"},
		{"a declared type that is none", "json", ociImage(""), "no media type"},
		{"a declared type that breaks a header", ociManifest + "\r\nx: y", ociImage(""), "no media type"},
		{"a declared type without end", "application/" + strings.Repeat("x", 300) + "+json", ociImage(""), "no media type"},
		{"its own type is none", "", `{"schemaVersion":2,"mediaType":"x","manifests":[]}`, "no media type"},
		{"its own type is a number", "", `{"schemaVersion":2,"mediaType":2,"manifests":[]}`, "mediaType is a JSON number"},
		{"no type of a manifest", "text/plain", `{"schemaVersion":2,"manifests":[]}`, "not the media type"},
		{"a type for which nothing is there", "application/json", `{"schemaVersion":2}`, "names nothing"},
		{"no type and no keys", "", `{"schemaVersion":2}`, "no media type"},
		{"no type and the keys of an artifact", "", `{"blobs":[]}`, "no media type"},

		{"schema 1", "application/vnd.docker.distribution.manifest.v1+json", `{"schemaVersion":1,"fsLayers":[]}`, "schema 1"},
		{"signed schema 1", "application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1,"fsLayers":[]}`, "schema 1"},
		{"schema 1 by its own word", "", `{"mediaType":"application/vnd.docker.distribution.manifest.v1+json","layers":[]}`, "schema 1"},
		{"schema 1 that does not say so", "", `{"schemaVersion":1,"name":"x","fsLayers":[]}`, "schema 1"},
		{"an image that is schema 1 too", ociManifest, ociImage(`,"fsLayers":[]`), "schema 1"},

		{"an image that is an index too", ociManifest, ociImage(`,"manifests":[` + a + `]`), "ambiguous"},
		{"an image that is an empty index too", ociManifest, ociImage(`,"manifests":null`), "ambiguous"},
		{"an index with a config", ociIndex, `{"schemaVersion":2,"manifests":[],"config":` + a + `}`, "ambiguous"},
		{"an index with layers", ociIndex, `{"schemaVersion":2,"manifests":[],"layers":[]}`, "ambiguous"},
		{"an index with blobs", ociIndex, `{"schemaVersion":2,"manifests":[],"blobs":[]}`, "ambiguous"},
		{"an image with blobs", ociManifest, ociImage(`,"blobs":[]`), "ambiguous"},
		{"a key twice", ociManifest, ociImage(`,"layers":[]`), "twice"},
		{"a key twice in other case", ociManifest, ociImage(`,"Layers":[]`), "twice"},
		{"a key twice by an escape", ociManifest, ociImage(`,"l\u0061yers":[]`), "twice"},
		{"a key twice by a letter whose other case is s", ociManifest, ociImage(`,"layerſ":[]`), "twice"},
		{"a key that nobody knows twice in other case", ociManifest, ociImage(`,"x":1,"X":2`), "twice"},
		{"a key in other case", ociManifest, ociImage(`,"Manifests":[]`), "some read"},
		{"a digest twice", ociManifest, fmt.Sprintf(configured, desc(gzipLayer, "x", `,"digest":"`+string(dg("y"))+`"`)), "twice"},
		{"a digest in other case", ociManifest, fmt.Sprintf(configured, `{"mediaType":"x/y","Digest":"`+dg("a")+`","size":1}`), "some read"},
		{"an annotation twice", ociManifest, ociImage(`,"annotations":{"a":"1","a":"2"}`), "twice"},

		{"an image without a config", ociManifest, `{"schemaVersion":2,"layers":[]}`, "needs a config"},
		{"an image whose config is null", ociManifest, `{"schemaVersion":2,"config":null,"layers":[]}`, "needs a config"},
		{"an image with the keys of an index", ociManifest, `{"schemaVersion":2,"manifests":[]}`, "keys are those of an index"},
		{"an index with the keys of an image", ociIndex, fmt.Sprintf(configured, a), "keys are those of an image manifest"},
		{"an index without entries", ociIndex, `{"schemaVersion":2}`, "names nothing"},
		{"an artifact with the keys of an index", artifactManifest, `{"manifests":[]}`, "keys are those of an index"},
		{"no schemaVersion", ociIndex, `{"manifests":[]}`, "no schemaVersion"},
		{"a schemaVersion of another time", ociIndex, `{"schemaVersion":3,"manifests":[]}`, "schemaVersion is 3"},
		{"a schemaVersion of another time, of another type", "application/json", `{"schemaVersion":3,"manifests":[]}`, "schemaVersion is 3"},
		{"a schemaVersion that is text", ociIndex, `{"schemaVersion":"2","manifests":[]}`, "schemaVersion is a JSON string"},

		{"layers that are no list", ociManifest, `{"schemaVersion":2,"config":` + a + `,"layers":{}}`, "list of descriptors"},
		{"a layer that is null", ociManifest, fmt.Sprintf(configured, "null"), "null"},
		{"a layer that is text", ociManifest, fmt.Sprintf(configured, `"x"`), "object was expected"},
		{"a layer without a digest", ociManifest, fmt.Sprintf(configured, `{"mediaType":"x/y","size":1}`), "digest"},
		{"a layer without a size", ociManifest, fmt.Sprintf(configured, `{"mediaType":"x/y","digest":"`+dg("a")+`"}`), "no size"},
		{"a layer of a negative size", ociManifest, fmt.Sprintf(configured, `{"mediaType":"x/y","digest":"`+dg("a")+`","size":-1}`), "no size"},
		{"a layer of half a byte", ociManifest, fmt.Sprintf(configured, `{"mediaType":"x/y","digest":"`+dg("a")+`","size":0.5}`), "size is a JSON number"},
		{"a layer without a media type", ociManifest, fmt.Sprintf(configured, desc("", "x")), "no media type"},
		{"a layer whose type breaks a header", ociManifest, fmt.Sprintf(configured, desc("x/y\r\n", "x")), "no media type"},
		{"a layer whose type has no end", ociManifest, fmt.Sprintf(configured, desc("x/"+strings.Repeat("y", 300), "x")), "no media type"},
		{"a foreign layer without a digest", ociManifest, fmt.Sprintf(configured, `{"mediaType":"x/y","size":1,"urls":["x"]}`), "digest"},
		{"a layer of two sizes", ociManifest, fmt.Sprintf(configured, `{"mediaType":"x/y","digest":"`+dg("a")+`","size":9}`), "has 9"},
		{"a subject without a digest", ociManifest, ociImage(`,"subject":{}`), "digest"},
		{"an entry without a digest", ociIndex, indexOf(`{}`), "digest"},
		{"an artifact type that breaks a header", ociManifest, ociImage(`,"artifactType":"x\n"`), "no media type"},
		{"an annotation that is no text", ociManifest, ociImage(`,"annotations":{"a":1}`), "annotation is a JSON number"},
		{"annotations that are a list", ociManifest, ociImage(`,"annotations":[]`), "object was expected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseDocument(c.declared, []byte(c.doc))
			var invalid *InvalidManifestError
			if !errors.As(err, &invalid) || !strings.Contains(invalid.Reason, c.says) {
				t.Errorf("got %v, want a reason with %q", err, c.says)
			}
			if invalid != nil && len(invalid.Reason) > 500 {
				t.Errorf("a reason of %d bytes", len(invalid.Reason))
			}
		})
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"x%d":0`, i)
	}
	return b.String()
}

func TestDigestsThatAreNone(t *testing.T) {
	hex := dg("a").Encoded()
	for _, d := range []string{
		"", "sha256", "sha256:", "sha256:" + hex[1:], "sha256:" + hex + "0", "sha256:" + strings.ToUpper(hex), "SHA256:" + hex, hex,
		"sha512:" + hex, "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:../../x", "sha256:" + hex[:62] + "zz", "sha256:" + hex + "\u0000",
	} {
		entry, err := json.Marshal(map[string]any{"mediaType": ociManifest, "digest": d, "size": 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseDocument("", []byte(indexOf(string(entry)))); !errors.As(err, new(*InvalidManifestError)) {
			t.Errorf("%q: %v", d, err)
		}
	}
	sha512 := digest.SHA512.FromString("a")
	entry := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1}`, ociManifest, sha512)
	if d, err := parseDocument("", []byte(indexOf(entry))); err != nil || len(d.named) != 1 || d.named[0] != sha512 {
		t.Errorf("sha512: %v, %v", d.named, err)
	}
}

func TestReferrer(t *testing.T) {
	d, err := parseDocument("", []byte(ociImage(`,"artifactType":"a/b","annotations":{"k":"v"},"subject":`+desc(ociManifest, "image"))))
	if err != nil {
		t.Fatal(err)
	}
	want := ocispec.Descriptor{
		MediaType: ociManifest, Digest: dg("x"), Size: 7, ArtifactType: "a/b", Annotations: map[string]string{"k": "v"},
	}
	if got := d.referrer(dg("x"), 7); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzParseDocument(f *testing.F) {
	for _, seed := range []string{
		ociImage(""), ociImage(`,"subject":` + desc(ociManifest, "x")), ociImage(`,"manifests":[]`), indexOf(desc(gzipLayer, "x")),
		`{"blobs":[` + desc(gzipLayer, "x", `,"urls":["x"]`) + `]}`, `{"schemaVersion":1,"fsLayers":[]}`, ociImage(`,"Layers":[]`), `null`, `{}{}`,
	} {
		for _, declared := range []string{"", ociManifest, ociIndex, artifactManifest, "application/json; x=y", dockerManifest} {
			f.Add(declared, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, declared string, b []byte) {
		d, err := parseDocument(declared, b)
		if err != nil {
			if !errors.As(err, new(*InvalidManifestError)) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		again, err := parseDocument(d.mediaType, b)
		if err != nil || !reflect.DeepEqual(again, d) {
			t.Fatalf("accepted as %+v, and then as %+v, %v", d, again, err)
		}
		for _, dgst := range d.named {
			if err := dgst.Validate(); err != nil {
				t.Fatalf("%q is let through: %v", dgst, err)
			}
		}
		if d.subject != nil && d.subject.Digest.Validate() != nil {
			t.Fatalf("subject %q is let through", d.subject.Digest)
		}
		if len(d.blobs)+len(d.manifests) > len(d.named) {
			t.Fatalf("%d blobs and %d manifests of %d named", len(d.blobs), len(d.manifests), len(d.named))
		}
		if strings.ContainsAny(d.mediaType+d.artifactType+d.configType, "\r\n\x00") {
			t.Fatalf("types %q, %q, %q", d.mediaType, d.artifactType, d.configType)
		}
	})
}
