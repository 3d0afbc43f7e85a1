package proxy

import (
	"io"
	"strings"

	"github.com/entrepot/entrepot/proxy/ui"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	shownReferrers = 50
	shownChildren  = 100 // of an index
	shownLayers    = 150 // images that run have 127 at most
	lookPlatforms  = 8   // of each index in a list of tags
)

// imagePage shows NAME:TAG or NAME@DIGEST.
func (c *call) imagePage(image string) error {
	name, ref, byDigest := strings.Cut(image, "@")
	if !byDigest {
		name, ref = cutLast(image, ':')
	}
	r := Request{Kind: KindManifest, Name: name, Ref: ref}
	if err := r.check(); err != nil || byDigest != r.ByDigest() {
		return &Error{Code: CodeManifestUnknown, Message: "that is neither NAME:TAG nor NAME@DIGEST"}
	}
	home, err := c.look(name, ref)
	if err != nil {
		return err
	}
	s := c.shelf(home)
	m, err := s.manifest(c.looking, ref)
	if missing(err) {
		return &Error{Code: CodeManifestUnknown, Message: "that is not here; what is cached is shown once somebody has pulled it"}
	}
	if err != nil {
		return err
	}
	p := ui.Image{
		Page: c.frame(image, "repositories"), Repository: name, Hosted: home.Hosted, Digest: m.digest, MediaType: m.mediaType, ManifestSize: int64(len(m.bytes)),
		Raw: "/v2/" + name + "/manifests/" + string(m.digest), DeleteDigest: c.mayDelete(home, !c.server.o.NoDelete.Manifests),
	}
	p.Pulls = pulls(strings.HasPrefix(c.base(), "http:"), p.Server+"/"+name, ref, m.digest)
	if !byDigest {
		p.Tag, p.DeleteTag = ref, c.mayDelete(home, !c.server.o.NoDelete.Tags)
		if tag, err := s.tag(c.looking, ref); err == nil {
			p.Changed, p.By = tag.changed, tag.by
		}
	}
	if err := c.fillImage(&p, s, m); err != nil {
		return err
	}
	return c.show(func(w io.Writer) error { return c.server.ui.Image(w, p) })
}

// fillImage adds what the manifest, its configuration and its children say.
func (c *call) fillImage(p *ui.Image, s shelf, m manifestHere) error {
	d := describe(m.mediaType, m.bytes)
	p.Kind, p.Size, p.Annotations = d.kind, d.size, d.annotations
	config, err := c.configOf(s, d)
	if err != nil {
		return err
	}
	p.Created, p.Platform, p.Config = config.created, config.platform, config.pairs
	for i, layer := range d.layers[:min(len(d.layers), shownLayers)] {
		row := ui.Layer{Digest: layer.Digest, MediaType: layer.MediaType, Size: layer.Size, Kept: s.kept(c.looking, layer.Digest)}
		if i < len(config.commands) {
			row.Command = config.commands[i]
		}
		p.Layers = append(p.Layers, row)
	}
	if p.Platforms, err = c.platforms(s, d.children); err != nil {
		return err
	}
	p.More = ui.More{Platforms: len(d.children) - len(p.Platforms), Layers: len(d.layers) - len(p.Layers)}
	for _, child := range p.Platforms {
		p.Size = max(p.Size, child.Size)
	}
	referrers, err := s.referrers(c.looking, m.digest)
	if err != nil {
		return err
	}
	p.Referrers = referrerRows(referrers)
	p.More.Referrers = len(referrers) > shownReferrers
	return nil
}

// configOf says nothing where the configuration is not here.
func (c *call) configOf(s shelf, d described) (configured, error) {
	if d.kind != "image" || d.config.Digest == "" {
		return configured{}, nil
	}
	b, err := s.config(c.looking, d.config.Digest)
	if err != nil || b == nil {
		return configured{}, err
	}
	return describeConfig(b), nil
}

// platforms looks up the children of an index, which may not be here.
func (c *call) platforms(s shelf, children []child) ([]ui.Platform, error) {
	return lookUp(c.looking, children[:min(len(children), shownChildren)], func(k child) (ui.Platform, error) {
		row := ui.Platform{Name: k.name, Digest: k.Digest, Size: -1, Kept: ui.KeptNone}
		m, err := s.manifest(c.looking, string(k.Digest))
		if err != nil {
			return row, unlessMissing(err)
		}
		d := describe(m.mediaType, m.bytes)
		row.Size, row.Kept = d.size, c.keptOf(s, d)
		return row, nil
	})
}

// keptOf says how much of what a manifest names is here.
func (c *call) keptOf(s shelf, d described) ui.Kept {
	parts := d.layers[:min(len(d.layers), shownLayers)]
	if d.config.Digest != "" {
		parts = append([]ocispec.Descriptor{d.config}, parts...)
	}
	all, none := len(d.layers) <= shownLayers, true
	for _, part := range parts {
		if !all && !none || c.looking.Err() != nil {
			return ui.KeptPart
		}
		kept := s.kept(c.looking, part.Digest)
		all, none = all && kept == ui.KeptAll, none && kept == ui.KeptNone
	}
	switch {
	case all:
		return ui.KeptAll
	case none:
		return ui.KeptNone
	}
	return ui.KeptPart
}

func referrerRows(found []ocispec.Descriptor) []ui.Referrer {
	var rows []ui.Referrer
	for _, d := range found[:min(len(found), shownReferrers)] {
		if d.Digest.Validate() == nil { // an upstream may list anything
			rows = append(rows, ui.Referrer{Kind: describeReferrer(d), ArtifactType: shorten(d.ArtifactType, 200), Digest: d.Digest, Size: max(d.Size, -1)})
		}
	}
	return rows
}

// pulls are commands by which people get an image from here. Without TLS, all clients but docker have to be told so each time.
func pulls(plain bool, image, ref string, d digest.Digest) []ui.Command {
	podman, ctr, crane := "", "", ""
	if plain {
		podman, ctr, crane = "--tls-verify=false ", "--plain-http ", "--insecure "
	}
	byRef := image + ":" + ref
	if strings.IndexByte(ref, ':') >= 0 {
		byRef = image + "@" + ref
	}
	return []ui.Command{
		{Client: "docker", Text: "docker pull " + byRef},
		{Client: "podman", Text: "podman pull " + podman + byRef},
		{Client: "containerd", Text: "ctr images pull " + ctr + byRef},
		{Client: "crane", Text: "crane pull " + crane + byRef + " image.tar"},
		{Client: "by digest", Text: "docker pull " + image + "@" + string(d)},
	}
}

// tagRow looks up what a list says of a tag. Configurations are not read for lists of what lies far away.
func (c *call) tagRow(home Home, tag tagHere) (ui.Tag, error) {
	row := ui.Tag{Name: tag.name, Digest: tag.digest, Size: -1, Changed: tag.changed}
	s := c.shelf(home)
	m, err := s.manifest(c.looking, string(tag.digest))
	if missing(err) {
		return row, nil
	}
	if err != nil {
		return row, err
	}
	d := describe(m.mediaType, m.bytes)
	row.Kind, row.Size = d.kind, d.size
	for _, k := range d.children {
		if k.kind == "" {
			row.Platforms = append(row.Platforms, k.name)
		}
	}
	if home.Hosted && c.server.o.Copies {
		return row, nil
	}
	if len(d.children) > 0 {
		err := c.addPlatforms(&row, s, d.children)
		return row, err
	}
	config, err := c.configOf(s, d)
	if config.platform != "" {
		row.Platforms = []string{config.platform}
	}
	row.Created = config.created
	return row, err
}

// addPlatforms adds what the first platforms of an index say, as far as they are here.
func (c *call) addPlatforms(row *ui.Tag, s shelf, children []child) error {
	for _, k := range children[:min(len(children), lookPlatforms)] {
		if k.kind != "" {
			continue
		}
		m, err := s.manifest(c.looking, string(k.Digest))
		if missing(err) {
			continue
		}
		if err != nil {
			return err
		}
		d := describe(m.mediaType, m.bytes)
		row.Size = max(row.Size, d.size)
		if row.Created.IsZero() {
			config, err := c.configOf(s, d)
			if err != nil {
				return err
			}
			row.Created = config.created
		}
	}
	return nil
}
