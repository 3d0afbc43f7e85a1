package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed assets
var assetFiles embed.FS

// asset is a file that pages name.
type asset struct {
	body      []byte
	mediaType string
}

// mediaTypes are those of the kinds of assets there are.
var mediaTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// loadAssets gives the assets by the names under which they are served, and those names by the files' own. A served name
// holds a hash of the content, so that it may be cached for ever.
func loadAssets() (assets map[string]asset, names map[string]string, err error) {
	files, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		return nil, nil, err
	}
	assets, names = map[string]asset{}, map[string]string{}
	for _, f := range files {
		body, err := assetFiles.ReadFile("assets/" + f.Name())
		if err != nil {
			return nil, nil, err
		}
		ext := path.Ext(f.Name())
		mediaType, known := mediaTypes[ext]
		if !known {
			return nil, nil, fmt.Errorf("%s: no media type is known for %q", f.Name(), ext)
		}
		hash := sha256.Sum256(body)
		served := strings.TrimSuffix(f.Name(), ext) + "." + hex.EncodeToString(hash[:6]) + ext
		assets[served], names[f.Name()] = asset{body, mediaType}, served
	}
	return assets, names, nil
}

// Asset gives the file that pages name under /ui/assets/. Its content never changes.
func (u *UI) Asset(name string) (body []byte, mediaType string, ok bool) {
	a, ok := u.assets[name]
	return a.body, a.mediaType, ok
}
