package signing_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"fmt"
	"io"
	"testing"

	"countersign/signing"
	"countersign/signing/pdf"
)

// BenchmarkSign compares a signature, from intent to the checked result, with its
// floor: copy, SHA-256 and one P-256 signature.
func BenchmarkSign(b *testing.B) {
	key := newKeys(b, "p256")[0]
	for _, size := range []int{50 << 10, 1 << 20, 10 << 20} {
		var buf bytes.Buffer
		draft := updated(b, pdf.Sample("x", nil), func(_ *pdf.File, u *pdf.Update) {
			u.Set(u.Alloc(), fmt.Appendf(nil, "<< /Length %d >>\nstream\n%s\nendstream", size, make([]byte, size)))
		})
		_, _, err := signing.Prepare(&buf, section(draft), wanted)
		check(b, err)
		base := buf.Bytes()
		b.Run(fmt.Sprintf("floor/%dKB", size>>10), func(b *testing.B) {
			for b.Loop() {
				h := sha256.New()
				io.Copy(h, bytes.NewReader(base))
				_, err := key.Sign(b.Context(), h.Sum(nil), crypto.SHA256)
				check(b, err)
				bytes.Clone(base)
			}
		})
		out := bytes.NewBuffer(make([]byte, 0, len(base)+1<<16))
		b.Run(fmt.Sprintf("sign/%dKB", size>>10), func(b *testing.B) {
			for b.Loop() {
				in := newIntent(b, base, key, 0)
				ticket, err := signing.NewTicket(in)
				check(b, err)
				sig, err := ticket.Sign(b.Context(), key)
				check(b, err)
				out.Reset()
				res, err := signing.Finish(out, bytes.NewReader(base), in, signing.Proof{Signature: sig})
				check(b, err)
				check(b, signing.Check(bytes.NewReader(out.Bytes()), res.Size, in))
			}
		})
	}
}
