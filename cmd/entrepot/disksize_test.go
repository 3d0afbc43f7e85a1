package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/entrepot/entrepot/cache"
)

func TestAutomaticDiskSizeIsChosenOnce(t *testing.T) {
	dir := t.TempDir()
	free, err := cache.FreeBytes(dir)
	if err != nil || free <= 0 {
		t.Fatalf("free space %d, %v", free, err)
	}
	first, err := diskLimit(DiskSize{Auto: true}, dir)
	if err != nil || first <= 0 || first > int64(autoDiskSize) || first > free {
		t.Fatalf("chosen %d, %v", first, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "disk-size"), []byte("7MiB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if kept, err := diskLimit(DiskSize{Auto: true}, dir); err != nil || kept != 7<<20 {
		t.Errorf("the choice was not kept: %d, %v", kept, err)
	}
	if given, err := diskLimit(DiskSize{Size: 5}, dir); err != nil || given != 5 {
		t.Errorf("a given size is not what counts: %d, %v", given, err)
	}
}

func TestAnUnreadableChoiceIsAnErrorAndNotANewChoice(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "disk-size"), []byte("??"), 0o600); err != nil {
		t.Fatal(err)
	}
	if size, err := diskLimit(DiskSize{Auto: true}, dir); err == nil {
		t.Errorf("got %d", size)
	}
}
