package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/entrepot/entrepot/cache"
)

// autoDiskSize bounds the disk tier where nobody did.
const autoDiskSize Size = 20 << 30

// diskLimit is the size of the disk tier in bytes. An automatic size is chosen once and kept in data/disk-size: half of
// what is free would otherwise shrink with every start, since what is cached is not free any more.
func diskLimit(size DiskSize, data string) (int64, error) {
	if !size.Auto {
		return int64(size.Size), nil
	}
	path := filepath.Join(data, "disk-size")
	text, err := os.ReadFile(path)
	if err == nil {
		var kept Size
		if err := kept.UnmarshalText(text); err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		return int64(kept), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	free, err := cache.FreeBytes(data)
	if err != nil {
		return 0, err
	}
	chosen := min(autoDiskSize, Size(free)/2)
	return int64(chosen), os.WriteFile(path, []byte(chosen.String()+"\n"), 0o600)
}
