package boltstore_test

import (
	"fmt"
	"testing"

	"countersign/store"
	"countersign/store/storetest"
)

// TestDiskFull: a commit that does not fit fails cleanly, the state is what it
// was, and once there is room commits work again without reopening.
func TestDiskFull(t *testing.T) {
	storetest.OnSmallDisk(t, func(t *testing.T, d *storetest.Disk) {
		s := openBolt(t, d.Dir)
		grow := func(version uint64, size int) error {
			errs, err := s.Apply(t.Context(), []store.Change{{
				Row:     &store.Row{ID: "r", Version: version, Open: true, Data: make([]byte, 1000)},
				Handled: []string{fmt.Sprint("m", version)},
				Add:     []store.Effect{{Key: fmt.Sprint("r/", version), Request: "r", Payload: make([]byte, size)}},
				Audit:   []store.Entry{{Request: "r", Data: fmt.Append(nil, version)}},
			}})
			if err != nil {
				return err
			}
			return errs[0]
		}
		if err := grow(0, 0); err != nil {
			t.Fatal(err)
		}
		version := uint64(1)
		for range 3 {
			d.Fill(t, 256<<10)
			for range 5 {
				if err := grow(version, 4<<20); !d.IsFull(err) {
					t.Fatalf("4 MB on a disk with room for 256 KB: %v", err)
				}
			}
			checkVersion(t, s, version)
			d.Free(t)
			for range 10 {
				if err := grow(version, 0); err != nil {
					t.Fatalf("commit after space returned: %v", err)
				}
				version++
			}
			if err := grow(version, 4<<20); err != nil {
				t.Fatalf("large commit after space returned: %v", err)
			}
			version++
			checkVersion(t, s, version)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openBolt(t, d.Dir)
		checkVersion(t, s, version)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
