package proxy

import (
	"net/http"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// referrers answers with the index of what refers to a manifest.
func (c *call) referrers() error {
	only, err := c.artifactType()
	if err != nil {
		return err
	}
	c.keep()
	index, warning, err := c.server.o.Manifests.Referrers(c.server.ctx, c.repository(), c.req.Digest())
	if err != nil {
		return err
	}
	c.warn(warning)
	return c.sendReferrers(index, only)
}

// artifactType is what the referrers asked for are to be of; empty: anything. It copies.
func (c *call) artifactType() (string, error) {
	only := string(c.ctx.QueryArgs().Peek("artifactType"))
	if len(only) > longestParam {
		return "", &Error{Code: CodeUnsupported, Status: http.StatusBadRequest, Message: "artifactType is too long"}
	}
	return only, nil
}

func (c *call) sendReferrers(index ocispec.Index, only string) error {
	if only != "" {
		c.set(headerFilters, "artifactType")
	}
	return c.sendJSON(ocispec.MediaTypeImageIndex, ofType(index, only))
}

// ofType gives a new index; the one given is shared.
func ofType(index ocispec.Index, artifactType string) ocispec.Index {
	index.Versioned = specs.Versioned{SchemaVersion: 2}
	index.MediaType = ocispec.MediaTypeImageIndex
	kept := make([]ocispec.Descriptor, 0, len(index.Manifests))
	for _, d := range index.Manifests {
		if artifactType == "" || d.ArtifactType == artifactType {
			kept = append(kept, d)
		}
	}
	index.Manifests = kept
	return index
}
