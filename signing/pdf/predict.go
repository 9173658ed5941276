package pdf

import (
	"compress/zlib"
	"errors"
	"io"
)

// A predictor undoes TIFF and PNG prediction (7.4.4.4) row by row.
type predictor struct {
	r         io.Reader
	row, prev []byte // of PNG with the byte that names the filter in front
	rest      []byte // of row, not yet handed on
	bpp       int    // bytes per pixel
	png       int    // 1: PNG, 0: TIFF
}

// newPredictor returns r itself where nothing was predicted.
func newPredictor(r io.Reader, parms Value) (io.Reader, error) {
	kind := intOr(parms, "Predictor", 1)
	if kind == 1 {
		return r, nil
	}
	colors, bits := intOr(parms, "Colors", 1), intOr(parms, "BitsPerComponent", 8)
	columns := intOr(parms, "Columns", 1)
	if kind != 2 && (kind < 10 || kind > 15) || bits != 8 || colors < 1 || colors > 32 || columns < 1 || columns > 1<<16 {
		return nil, refuse(ReasonUnsupported, "a structural stream with predictor %d", kind)
	}
	p := &predictor{r: r, bpp: int(colors), png: 1}
	if kind == 2 {
		p.png = 0
	}
	p.row, p.prev = make([]byte, p.png+int(colors*columns)), make([]byte, p.png+int(colors*columns))
	return p, nil
}

func (p *predictor) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		p.row, p.prev = p.prev, p.row
		switch n, err := io.ReadFull(p.r, p.row); {
		case n == 0 && (errors.Is(err, io.EOF) || errors.Is(err, zlib.ErrChecksum)):
			return 0, io.EOF
		case n > 0 && n < len(p.row) && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, zlib.ErrChecksum)):
			return 0, broken("the last row of a structural stream is cut off")
		case err != nil:
			return 0, err
		}
		p.rest = p.row[p.png:]
		kind := byte(1)
		if p.png == 1 {
			kind = p.row[0]
		}
		if err := unfilter(kind, p.rest, p.prev[p.png:], p.bpp); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// unfilter undoes one row's PNG filter in place.
func unfilter(kind byte, cur, prev []byte, bpp int) error {
	if kind > 4 {
		return broken("an unknown PNG row filter %d", kind)
	}
	for i := range cur {
		var left, upLeft byte
		if i >= bpp {
			left, upLeft = cur[i-bpp], prev[i-bpp]
		}
		switch kind {
		case 1:
			cur[i] += left
		case 2:
			cur[i] += prev[i]
		case 3:
			cur[i] += byte((int(left) + int(prev[i])) / 2)
		case 4:
			cur[i] += paeth(int(left), int(prev[i]), int(upLeft))
		}
	}
	return nil
}

func paeth(a, b, c int) byte {
	abs := func(n int) int { return max(n, -n) }
	p := a + b - c
	pa, pb, pc := abs(p-a), abs(p-b), abs(p-c)
	switch {
	case pa <= pb && pa <= pc:
		return byte(a)
	case pb <= pc:
		return byte(b)
	}
	return byte(c)
}
