package main

import (
	"log/slog"
	"testing"
)

func TestAnEndIsCleanOnlyIfNobodyCouldStillWrite(t *testing.T) {
	c := load(t, "DATA="+t.TempDir(), "DISK_SIZE=64MiB", "MIN_FREE=0", "MEMORY_SIZE=8MiB")
	was := true // of a new directory
	for i, disturbed := range []bool{false, true, true, false, false} {
		s, err := openStored(c, unseenCounts(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if s.claim.Clean != was {
			t.Errorf("start %d is clean: %v, want %v", i, s.claim.Clean, was)
		}
		s.disturbed = disturbed
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		was = !disturbed
	}
}
