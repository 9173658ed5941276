// Package judge lets outside programs judge what this program signs: pyHanko and EU DSS,
// the two open validators that follow ETSI EN 319 102-1 and compare a signed revision
// with what came after it, and qpdf, pdfsig, mutool and OpenSSL for the parts they know.
// They also make files that somebody else signed before.
//
// It has tests only, with the build tag judge: "make judge" sets the judges up and runs
// them. See docs/testing.md.
package judge
