package blobs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"countersign/store/storetest"
)

// TestDiskFull: a blob that does not fit leaves nothing, harms none of the
// others, and fits once there is room.
func TestDiskFull(t *testing.T) {
	storetest.OnSmallDisk(t, func(t *testing.T, d *storetest.Disk) {
		dir := filepath.Join(d.Dir, "blobs")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir)
		old := put(t, s, []byte("stored before"))
		large := bytes.Repeat([]byte("large"), 1<<20)
		for range 3 {
			d.Fill(t, 256<<10)
			if _, _, err := s.Put(t.Context(), bytes.NewReader(large)); !d.IsFull(err) {
				t.Fatalf("5 MB on a disk with room for 256 KB: %v", err)
			}
			if got := files(t, dir); len(got) != 1 {
				t.Fatalf("files after the failure: %v", got)
			}
			f, err := s.Open(old)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			d.Free(t)
		}
		put(t, s, large)
	})
}
