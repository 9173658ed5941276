package pdf

// scanBlock is how much a scan reads at once where objects stand close together.
const scanBlock = 64 << 10

// A scan reads on and on through a file in one buffer that it fills again and again, so
// nothing that was read may be kept.
type scan struct {
	block
	buf []byte
	end int64 // where the last window ended
}

// scanned is window during a scan. It reads ahead where the file is read on from, over
// gaps smaller than what it reads at once; elsewhere just what small objects need.
func (f *File) scanned(off int64, n int) ([]byte, error) {
	s := f.scan
	if at := off - s.at; at < 0 || at+int64(n) > int64(len(s.b)) {
		size := int64(minBlock)
		if step := off - s.end; step >= -scanBlock && step <= scanBlock {
			size = scanBlock
		}
		size = min(max(size, int64(n)), f.size-off)
		if size > int64(cap(s.buf)) {
			s.buf = make([]byte, size)
		}
		s.b = s.buf[:0] // if reading fails
		// Reading ahead costs far less than parsing as much.
		if err := f.spend(n + int(size)/8); err != nil {
			return nil, err
		}
		if err := f.readAt(s.buf[:size], off); err != nil {
			return nil, err
		}
		s.at, s.b = off, s.buf[:size]
	}
	s.end = off + int64(n)
	b := s.b[off-s.at:]
	return b[:n:n], nil
}
