package pdf

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
)

// A standardHandler is what the encryption dictionary of the standard security
// handler says (Tables 20 and 21), with which the empty user password is tried.
type standardHandler struct {
	version, revision int64
	owner, user       []byte // /O and /U
	ownerKey, userKey []byte // /OE and /UE, from revision 5 on
	perms             []byte // the encrypted copy of /P, from revision 5 on
	permissions       uint32 // /P
	metadata          bool   // /EncryptMetadata
	id                []byte // the first part of the file identifier
	lengths           []int  // of the key in bytes, up to revision 4; /U tells which is right
}

// passwordPad stands for a password that is empty (7.6.4.3.2).
var passwordPad = []byte("\x28\xBF\x4E\x5E\x4E\x75\x8A\x41\x64\x00\x4E\x56\xFF\xFA\x01\x08" +
	"\x2E\x2E\x00\xB6\xD0\x68\x3E\x80\x2F\x0C\xA9\xFE\x64\x53\x69\x7A")

// fileKey returns the file encryption key if the empty user password opens the file,
// else nil.
func (h *standardHandler) fileKey() []byte {
	if h.revision >= 5 {
		return h.modernKey()
	}
	for _, n := range h.lengths {
		key := h.legacyKey(n)
		if check := h.checkValue(key); bytes.Equal(check, h.user[:len(check)]) {
			return key
		}
	}
	return nil
}

// legacyKey is algorithm 2 for the empty password (7.6.4.3.2), revisions 2 to 4, and a
// key of n bytes.
func (h *standardHandler) legacyKey(n int) []byte {
	m := md5.New()
	m.Write(passwordPad)
	m.Write(h.owner[:32])
	m.Write(binary.LittleEndian.AppendUint32(nil, h.permissions))
	m.Write(h.id)
	if h.revision >= 4 && !h.metadata {
		m.Write([]byte{0xff, 0xff, 0xff, 0xff})
	}
	sum := m.Sum(nil)
	if h.revision >= 3 {
		for range 50 {
			next := md5.Sum(sum[:n])
			sum = next[:]
		}
	}
	return sum[:n]
}

// checkValue is what a key makes of /U: algorithm 4 for revision 2, and algorithm 5
// for 3 and 4 (7.6.4.4), where only the first 16 bytes are not arbitrary.
func (h *standardHandler) checkValue(key []byte) []byte {
	if h.revision < 3 {
		return rc4With(key, passwordPad)
	}
	sum := md5.Sum(append(bytes.Clone(passwordPad), h.id...))
	out := rc4With(key, sum[:])
	for i := 1; i < 20; i++ {
		other := bytes.Clone(key)
		for j := range other {
			other[j] ^= byte(i)
		}
		out = rc4With(other, out)
	}
	return out
}

// modernKey is algorithm 2.A for the empty user password (7.6.4.3.3). /U is a hash of 32
// bytes, the salt of that hash, and the salt of the key that protects the file key.
func (h *standardHandler) modernKey() []byte {
	if !bytes.Equal(h.hash(nil, h.user[32:40]), h.user[:32]) {
		return nil
	}
	key := make([]byte, 32)
	block := newAES(h.hash(nil, h.user[40:48]))
	cipher.NewCBCDecrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(key, h.userKey)
	return key
}

// hash hashes a user password: SHA-256 in revision 5, algorithm 2.B in revision 6.
func (h *standardHandler) hash(password, salt []byte) []byte {
	sum := sha256.Sum256(append(bytes.Clone(password), salt...))
	if h.revision == 5 {
		return sum[:]
	}
	return hardened(sum[:], password)
}

// hardened is algorithm 2.B (7.6.4.3.4) from the first hash on, for a user password,
// which has no further data. It ends after at most 64 + 255 rounds.
func hardened(k, password []byte) []byte {
	for round := 0; ; round++ {
		data := bytes.Repeat(append(bytes.Clone(password), k...), 64)
		cipher.NewCBCEncrypter(newAES(k[:16]), k[16:32]).CryptBlocks(data, data)
		remainder := 0 // of the first 16 bytes as a number, modulo 3, to which 256 is 1
		for _, c := range data[:16] {
			remainder += int(c)
		}
		switch remainder % 3 {
		case 0:
			sum := sha256.Sum256(data)
			k = sum[:]
		case 1:
			sum := sha512.Sum384(data)
			k = sum[:]
		default:
			sum := sha512.Sum512(data)
			k = sum[:]
		}
		if round >= 63 && int(data[len(data)-1]) <= round-31 {
			return k[:32]
		}
	}
}

// checkPerms is algorithm 13 (7.6.4.4.12): /Perms, encrypted with the file key, repeats
// what somebody could change without it.
func (h *standardHandler) checkPerms(key []byte) error {
	got := make([]byte, aes.BlockSize)
	newAES(key).Decrypt(got, h.perms)
	metadata := byte('F')
	if h.metadata {
		metadata = 'T'
	}
	switch {
	case string(got[9:12]) != "adb":
		return broken("the protected copy of its permissions (/Perms) is unreadable")
	case binary.LittleEndian.Uint32(got) != h.permissions || got[8] != metadata:
		return broken("its permissions were changed after it was encrypted (/P and /Perms differ)")
	}
	return nil
}
