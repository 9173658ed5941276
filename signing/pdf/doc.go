// Package pdf reads PDF files strictly and extends them by incremental updates.
//
// The reader works on an io.ReaderAt and holds only what it was asked for: the
// tail, the cross-reference chain and single objects. Values keep the exact
// bytes they had in the file, so that an object that must change is copied raw
// but for the entry that changes (nothing is ever re-serialised).
//
// The writer only appends (ISO 32000-2, 7.5.6). Every byte that was in the file
// before stays where it was; signatures that were in it stay intact.
//
// The package fails closed. What it does not understand, what readers are known
// to disagree on, and what must not be changed any more is refused with a
// [RefusedError] whose text can be sent to the person who sent the file. Errors
// of the underlying reader are returned as they are and are no refusals. Every
// loop, depth, count and decompressed size is bounded.
//
// Encrypted files are read and extended if the standard security handler opens them with
// the empty user password and their author does not forbid it (7.6). Callers see plain
// strings and give plain strings; Update encrypts.
//
// Clause numbers in this package are those of ISO 32000-2:2020.
package pdf
