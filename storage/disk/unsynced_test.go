package disk

import (
	"errors"
	"syscall"
	"testing"

	"github.com/entrepot/entrepot/storage"
)

// unsyncable is a file system whose folders cannot be synced while broken.
type unsyncable struct {
	files
	broken *bool
}

func (u unsyncable) Sync(folder string) error {
	if *u.broken {
		return syscall.EIO
	}
	return u.files.Sync(folder)
}

func TestWhatCouldNotBeSyncedIsNotRead(t *testing.T) {
	broken := false
	s, err := open(t.TempDir(), unsyncable{osFiles{}, &broken})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	was, err := s.PutIf(t.Context(), "folder/record", []byte("old"), storage.Absent)
	if err != nil {
		t.Fatal(err)
	}
	broken = true
	if _, err := s.PutIf(t.Context(), "folder/record", []byte("new"), was); !errors.Is(err, syscall.EIO) {
		t.Errorf("write: %v", err)
	}
	for _, key := range []string{"folder/record", "folder/other"} { // the absence of a neighbour may not be durable either
		if b, _, err := s.Get(t.Context(), key); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s reads as %q, %v, and is not durable", key, b, err)
		}
	}
	broken = false
	if b, _, err := s.Get(t.Context(), "folder/record"); string(b) != "new" || err != nil {
		t.Errorf("once the folder can be synced it reads as %q, %v", b, err)
	}
}
