package pdf

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"sync"
)

// inflaters keeps the tables of decompressors (40 KB each), which cost more to make
// than most structural streams to read.
var inflaters sync.Pool

// A decoder reads the decoded data of a structural stream. Only what cross-reference
// and object streams need is handled: no filter or FlateDecode, with predictors.
type decoder struct {
	io.Reader
	z   io.ReadCloser // to be given back; nil: no filter
	num uint32
}

// decoder opens the data of a stream, of which the file may hold at most limit bytes.
func (f *File) decoder(o Object, limit int64) (*decoder, error) {
	if f.decoding > maxDepth/8 {
		return nil, broken("the length of a stream is hidden in a stream, over and over")
	}
	f.decoding++
	defer func() { f.decoding-- }()
	raw, err := f.streamData(o, limit)
	if err != nil {
		return nil, err
	}
	if f.crypt != nil {
		if raw, err = f.crypt.plainData(o, raw); err != nil {
			return nil, err
		}
	}
	parms, flate, err := flateParms(o.Value)
	if err != nil || !flate {
		return &decoder{Reader: raw, num: o.Ref.Num}, err
	}
	d := &decoder{num: o.Ref.Num}
	if d.z, _ = inflaters.Get().(io.ReadCloser); d.z == nil {
		d.z, err = zlib.NewReader(raw)
	} else {
		err = d.z.(zlib.Resetter).Reset(raw, nil)
	}
	if err != nil {
		return nil, d.damaged(err)
	}
	d.Reader, err = newPredictor(d.z, parms)
	return d, err
}

func (d *decoder) damaged(err error) error {
	if re, ok := errors.AsType[*RefusedError](err); ok {
		return re
	}
	return broken("the data of stream %d is damaged (%v)", d.num, err)
}

// close gives the decompressor back.
func (d *decoder) close() {
	if d.z != nil {
		inflaters.Put(d.z)
	}
}

// decode returns the decoded data of a stream; neither that nor the data in the
// file may be longer than limit.
func (f *File) decode(o Object, limit int64) ([]byte, error) {
	d, err := f.decoder(o, limit)
	if err != nil {
		return nil, err
	}
	defer d.close()
	limit = max(0, min(limit, maxWork-f.work))
	var out bytes.Buffer
	if n, ok := o.Value.Get("Length").Int(); ok {
		out.Grow(int(min(max(0, 4*n), 64<<10, limit)) + bytes.MinRead)
	}
	_, err = out.ReadFrom(io.LimitReader(d, limit+1))
	if err != nil && !errors.Is(err, zlib.ErrChecksum) {
		return nil, d.damaged(err)
	}
	if int64(out.Len()) > limit {
		return nil, refuse(ReasonTooLarge, "stream %d unpacks to more than %d bytes", o.Ref.Num, limit)
	}
	return out.Bytes(), f.spend(out.Len())
}

// decodeRows returns the first need bytes of the decoded data of a stream, and whether
// there are more. It takes no more memory than there is data, whatever need says.
func (f *File) decodeRows(o Object, need int64) (rows []byte, more bool, err error) {
	d, err := f.decoder(o, f.size)
	if err != nil {
		return nil, false, err
	}
	defer d.close()
	rows = make([]byte, 0, min(need, 64<<10))
	for int64(len(rows)) < need {
		if len(rows) == cap(rows) {
			rows = append(make([]byte, 0, min(need, 2*int64(cap(rows)))), rows...)
		}
		n, err := io.ReadFull(d, rows[len(rows):cap(rows)])
		rows = rows[:len(rows)+n]
		if err := f.spend(n); err != nil {
			return nil, false, err
		}
		if err != nil {
			return nil, false, broken("stream %d is too short (%v)", o.Ref.Num, err)
		}
	}
	var next [1]byte
	n, _ := io.ReadFull(d, next[:])
	return rows, n > 0, nil
}

// streamData opens the data of a stream as it is in the file, at most limit bytes.
func (f *File) streamData(o Object, limit int64) (io.Reader, error) {
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
	if n > limit {
		return nil, refuse(ReasonTooLarge, "stream %d has more than %d bytes", o.Ref.Num, limit)
	}
	const inOne = 16 << 10
	at, size := o.data+n, 32
	if n <= inOne {
		at, size = o.data, int(n)+32
	}
	buf, _, err := f.window(at, size)
	if err != nil {
		return nil, err
	}
	inside := buf[:o.data+n-at]
	if err := newParser(buf[len(inside):], true).keyword("endstream"); err != nil {
		return nil, broken("stream %d does not end where its /Length says", o.Ref.Num)
	}
	if n <= inOne {
		return bytes.NewReader(inside), nil
	}
	return bufio.NewReaderSize(io.NewSectionReader(f.r, o.data, n), inOne), nil
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
