package engine

import (
	"log/slog"
	"strings"
	"testing"

	"countersign/mailflow"
	"countersign/store"
	"countersign/store/blobs"
	"countersign/store/memstore"
)

type onDisk struct{ *blobs.Store }

func (d onDisk) Create() (store.BlobWriter, error)      { return d.Store.Create() }
func (d onDisk) Open(digest string) (store.Blob, error) { return d.Store.Open(digest) }

// TestForget holds invariant 14 where two mailboxes get the same bytes: a mail that a
// state names stays, though it was refused in the other mailbox; any other one goes.
func TestForget(t *testing.T) {
	files, err := blobs.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	state := memstore.New()
	e := &Engine{Desk: &Desk{cfg: Config{Store: state, Blobs: onDisk{files}, Log: slog.New(slog.DiscardHandler)}}}
	for _, named := range []bool{true, false} {
		digest, _, err := files.Put(t.Context(), strings.NewReader(map[bool]string{true: "named", false: "stray"}[named]))
		if err != nil {
			t.Fatal(err)
		}
		a := &arrival{in: Inbound{Blob: mailflow.Blob(digest)}}
		if named {
			if errs, err := state.Apply(t.Context(), []store.Change{{Tokens: keepRaw(a)}}); err != nil || errs[0] != nil {
				t.Fatal(errs, err)
			}
		}
		e.forget(t.Context(), a.in.Blob)
		if has, err := files.Has(digest); err != nil || has != named {
			t.Errorf("named %v: kept %v, %v", named, has, err)
		}
	}
}
