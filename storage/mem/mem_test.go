package mem_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/entrepot/entrepot/storage"
	"github.com/entrepot/entrepot/storage/mem"
	"github.com/entrepot/entrepot/storage/storagetest"
)

func TestConformance(t *testing.T) {
	storagetest.Conformance(t, func(*testing.T) storage.Store { return mem.New(time.Now) })
}

func TestConformanceUnder(t *testing.T) {
	storagetest.Conformance(t, func(*testing.T) storage.Store { return storage.Under(mem.New(time.Now), "cache/") })
}

func TestAbilities(t *testing.T) {
	whole := mem.New(time.Now)
	for name, s := range map[string]storage.Store{"store": whole, "view": storage.Under(whole, "cache")} {
		if err := storage.DeleteIf(t.Context(), s, "none", storage.Absent); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("%s: DeleteIf of nothing = %v, want ErrConflict", name, err)
		}
		if err := storage.Link(t.Context(), s, "a", os.Args[0]); !errors.Is(err, storage.ErrUnable) {
			t.Errorf("%s: Link = %v, want ErrUnable", name, err)
		}
	}
}

func TestModifiedIsByTheClockGiven(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := mem.New(func() time.Time { return now })
	v, err := s.PutIf(t.Context(), "a", []byte("first"), storage.Absent)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if _, err := s.PutIf(t.Context(), "a", []byte("second"), v); err != nil {
		t.Fatal(err)
	}
	if info, err := s.Stat(t.Context(), "a"); err != nil || !info.Modified.Equal(now) {
		t.Fatalf("Stat = %v, %v; want %v", info.Modified, err, now)
	}
}
