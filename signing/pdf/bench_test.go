package pdf

import (
	"bytes"
	"testing"
)

// BenchmarkOpen measures what every step of signing pays for reading the structure.
func BenchmarkOpen(b *testing.B) {
	kinds := shapes()
	for _, name := range []string{"sample", "object stream", "form"} {
		file := kinds[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, err := Open(bytes.NewReader(file), int64(len(file)))
				if err == nil {
					_, err = f.SignatureFields()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
