package pdf

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rc4"
	"errors"
	"fmt"
	"io"
)

// plainData returns a reader of the plain data of a stream.
func (c *encryption) plainData(o Object, sealed io.Reader) (io.Reader, error) {
	m, err := c.streamMethod(o.Value)
	if err != nil || m == identity {
		return sealed, err
	}
	key := c.objectKey(m, o.Ref)
	if m == rc4Cipher {
		return cipher.StreamReader{S: newRC4(key), R: sealed}, nil
	}
	return &cbcReader{r: sealed, block: newAES(key), num: o.Ref.Num}, nil
}

// A cbcReader decrypts data that start with their initialization vector and end with
// padding. The last block is held back until it is known to be the last.
type cbcReader struct {
	r     io.Reader
	block cipher.Block
	num   uint32
	mode  cipher.BlockMode // nil: the initialization vector is yet to be read
	buf   [aes.BlockSize + 4096]byte
	held  int    // bytes held back at the start of buf
	plain []byte // a part of buf that is to be given out first
	err   error
}

// Read decrypts. Data that are no encrypted data end in a [RefusedError].
func (c *cbcReader) Read(b []byte) (int, error) {
	for len(c.plain) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.fill()
	}
	n := copy(b, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

// fill makes more plain bytes or sets err.
func (c *cbcReader) fill() {
	if c.mode == nil {
		iv := c.buf[:aes.BlockSize]
		if n, err := io.ReadFull(c.r, iv); err != nil {
			c.err = c.ending(n, err)
			return
		}
		c.mode = cipher.NewCBCDecrypter(c.block, iv)
	} else if c.held > 0 {
		copy(c.buf[:], c.buf[len(c.buf)-c.held:])
	}
	n, err := io.ReadFull(c.r, c.buf[c.held:c.held+4096])
	data := c.buf[c.held : c.held+n]
	if err != nil {
		if c.err = c.ending(n, err); !errors.Is(c.err, io.EOF) {
			return
		}
	}
	c.mode.CryptBlocks(data, data)
	data = c.buf[:c.held+n]
	if err == nil {
		c.held = aes.BlockSize
		last := len(data) - c.held
		c.plain = data[:last]
		copy(c.buf[len(c.buf)-c.held:], data[last:])
		return
	}
	if c.plain, err = unpad(data); err != nil {
		c.err = notSealed(c.num)
	}
}

// ending tells the end of the data, which is at the end of a block, from other errors.
func (c *cbcReader) ending(n int, err error) error {
	switch {
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case n%aes.BlockSize != 0:
		return notSealed(c.num)
	}
	return io.EOF
}

func notSealed(num uint32) error {
	return broken("a part of object %d is not encrypted as the rest is", num)
}

// errPadding says that decrypted data do not end with padding.
var errPadding = errors.New("no padding")

// unpad takes the padding off decrypted data (7.6.3.1). There is none if nothing
// follows the initialization vector: some programs write so.
func unpad(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, nil
	}
	pad := int(b[len(b)-1])
	if pad < 1 || pad > aes.BlockSize || !bytes.Equal(b[len(b)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, errPadding
	}
	return b[:len(b)-pad], nil
}

// newAES takes keys of 16 and 32 bytes only.
func newAES(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(fmt.Sprintf("pdf: an AES key of %d bytes", len(key))) // its makers fix the length
	}
	return block
}

// newRC4 takes keys of 5 to 16 bytes only.
func newRC4(key []byte) *rc4.Cipher {
	c, err := rc4.NewCipher(key)
	if err != nil {
		panic(fmt.Sprintf("pdf: an RC4 key of %d bytes", len(key))) // its makers fix the length
	}
	return c
}

// rc4With encrypts, which with RC4 is the same as to decrypt.
func rc4With(key, data []byte) []byte {
	out := make([]byte, len(data))
	newRC4(key).XORKeyStream(out, data)
	return out
}
