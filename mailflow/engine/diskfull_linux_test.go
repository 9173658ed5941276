package engine_test

import (
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"countersign/store/storetest"
)

// TestDiskFull: the disk fills up again and again during a contract. What cannot be
// stored does not happen, and happens once there is room.
func TestDiskFull(t *testing.T) {
	storetest.OnSmallDisk(t, func(t *testing.T, d *storetest.Disk) {
		h := newHouse(t, options{Workers: 1, Bolt: true, Dir: d.Dir})
		h.people = everybody()
		h.sends(contract(signs(carla)))
		errs, full := 0, 0
		h.forgiven = func(err error) bool {
			errs++
			return d.IsFull(err)
		}
		for point := 0; point < 1000 && len(h.kinds()) < len(signedByCarla.letters); point++ {
			if point%3 == 0 {
				full++
				h.whileFull(d, int64(point%4)*2048)
			}
			if !h.step() {
				due, err := h.store.NextDue(t.Context(), nil)
				must(t, err)
				h.clock.set(due)
			}
		}
		h.settle(2 * time.Hour)
		want := signedByCarla
		want.copies = 1 + full*tries // each time, the relay had it and the store could not note it
		h.judge(want)
		if errs == 0 {
			t.Error("the disk was never full")
		}
		must(t, filepath.WalkDir(filepath.Join(h.dir, "blobs"), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			f, err := h.blobs.Open(e.Name()) // checks the hash; half-written files have no such name
			if err != nil {
				return err
			}
			return f.Close()
		}))
	})
}

// tries is how many steps are tried on a full disk.
const tries = 4

// whileFull lets the engine try on a full disk for a while. People answer later, as
// the mail server would not take their mails either.
func (h *house) whileFull(d *storetest.Disk, leave int64) {
	h.t.Helper()
	d.Fill(h.t, leave)
	h.asleep = true
	for range tries {
		h.step()
		h.clock.advance(2 * time.Second)
	}
	h.asleep = false
	d.Free(h.t)
}
