package pdf

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
)

// decode returns the decoded data of a stream; neither that nor the data in the
// file may be longer than limit. Only what
// cross-reference and object streams need is handled: no filter or FlateDecode,
// with PNG predictors.
func (f *File) decode(o Object, limit int) ([]byte, error) {
	if f.decoding > maxDepth/8 {
		return nil, broken("the length of a stream is hidden in a stream, over and over")
	}
	f.decoding++
	defer func() { f.decoding-- }()
	raw, err := f.streamBytes(o, limit)
	if err != nil {
		return nil, err
	}
	if raw, err = f.crypt.plainData(o, raw); err != nil {
		return nil, err
	}
	parms, flate, err := flateParms(o.Value)
	if err != nil || !flate {
		return raw, err
	}
	limit = int(max(0, min(int64(limit), maxWork-f.work)))
	z, err := zlib.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, broken("the data of stream %d is damaged (%v)", o.Ref.Num, err)
	}
	out, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	if err != nil && !errors.Is(err, zlib.ErrChecksum) {
		return nil, broken("the data of stream %d is damaged (%v)", o.Ref.Num, err)
	}
	if len(out) > limit {
		return nil, refuse(ReasonTooLarge, "stream %d unpacks to more than %d bytes", o.Ref.Num, limit)
	}
	if err := f.spend(len(out)); err != nil {
		return nil, err
	}
	return unpredict(out, parms)
}

// streamBytes returns the data of a stream as it is in the file, at most limit bytes.
func (f *File) streamBytes(o Object, limit int) ([]byte, error) {
	if !o.Value.Get("F").IsNull() {
		return nil, refuse(ReasonUnsupported, "stream %d has its data in another file", o.Ref.Num)
	}
	length, err := f.Resolve(o.Value.Get("Length"))
	if err != nil {
		return nil, err
	}
	n, ok := length.Int()
	if !ok || n < 0 || n > f.size-o.data {
		return nil, broken("stream %d has no usable /Length", o.Ref.Num)
	}
	if n > int64(limit) {
		return nil, refuse(ReasonTooLarge, "stream %d has more than %d bytes", o.Ref.Num, limit)
	}
	buf, _, err := f.window(o.data, int(n)+32)
	if err != nil {
		return nil, err
	}
	p := newParser(buf, true)
	p.pos = int(n)
	if err := p.keyword("endstream"); err != nil {
		return nil, broken("stream %d does not end where its /Length says", o.Ref.Num)
	}
	return buf[:n:n], nil
}

// flateParms returns the parameters of the one FlateDecode filter, or flate =
// false if there is no filter at all.
func flateParms(dict Value) (parms Value, flate bool, err error) {
	filter, parms := dict.Get("Filter"), dict.Get("DecodeParms")
	if filter.kind == Array {
		filters := filter.list
		if len(filters) > 0 && filters[0].Name() == "Crypt" { // undone already
			filters = filters[1:]
		}
		if len(filters) == 0 {
			return parms, false, nil
		}
		if len(filters) > 1 {
			return parms, false, refuse(ReasonUnsupported, "a structural stream with several filters")
		}
		if parms.kind == Array && len(parms.list) == len(filter.list) {
			parms = parms.list[len(parms.list)-1]
		}
		filter = filters[0]
	}
	switch {
	case filter.IsNull() || filter.Name() == "Crypt":
		return parms, false, nil
	case filter.Name() != "FlateDecode":
		return parms, false, refuse(ReasonUnsupported, "a structural stream with the filter %q", clip(filter.raw))
	case !parms.IsNull() && parms.kind != Dict:
		return parms, false, broken("/DecodeParms of a structural stream is %s", parms.kind)
	}
	return parms, true, nil
}

// intOr returns the integer under a key, or fallback if there is none.
func intOr(dict Value, key string, fallback int64) int64 {
	if n, ok := dict.Get(key).Int(); ok {
		return n
	}
	return fallback
}

// unpredict undoes PNG prediction (7.4.4.4).
func unpredict(in []byte, parms Value) ([]byte, error) {
	predictor := intOr(parms, "Predictor", 1)
	if predictor == 1 {
		return in, nil
	}
	colors, bits := intOr(parms, "Colors", 1), intOr(parms, "BitsPerComponent", 8)
	columns := intOr(parms, "Columns", 1)
	if predictor < 10 || predictor > 15 || bits != 8 || colors < 1 || colors > 32 || columns < 1 || columns > 1<<16 {
		return nil, refuse(ReasonUnsupported, "a structural stream with predictor %d", predictor)
	}
	bpp, row := int(colors), int(colors*columns)
	out := make([]byte, 0, len(in))
	prev := make([]byte, row)
	for len(in) > 0 {
		if len(in) < row+1 {
			return nil, broken("the last row of a structural stream is cut off")
		}
		cur := in[1 : row+1]
		if err := unfilter(in[0], cur, prev, bpp); err != nil {
			return nil, err
		}
		out = append(out, cur...)
		prev, in = cur, in[row+1:]
	}
	return out, nil
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
