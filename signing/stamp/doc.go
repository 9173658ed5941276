// Package stamp draws what a visible signature shows: lines of text, as large as
// the rectangle allows, in an embedded subset of a TrueType font (so that the stamp looks
// the same everywhere and PDF/A stays PDF/A).
//
// [Text] sets any script that its font covers and that needs no shaping: Latin, Greek,
// Cyrillic, Chinese, Japanese, Korean and many more; the built-in font is Go Regular,
// which has the first three. What it cannot set it refuses with a
// [CharacterError] before anything is drawn, so that no name is ever shown wrongly.
//
// What Draw adds to an update is decided by its arguments alone, to the byte.
package stamp
