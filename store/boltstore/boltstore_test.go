package boltstore_test

import (
	"path/filepath"
	"testing"

	"countersign/store"
	"countersign/store/boltstore"
	"countersign/store/storetest"
)

func open(t testing.TB, dir string) store.Store { return openBolt(t, dir) }

func openBolt(t testing.TB, dir string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(filepath.Join(dir, "state.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) { storetest.Run(t, open) }
