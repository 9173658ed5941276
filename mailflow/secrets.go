package mailflow

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
)

// SecretSize is the size of the master secret, in bytes.
const SecretSize = 32

// Secrets are the keys that codes, tokens and the MAC of letters are derived from.
// They are made from one master secret that lives outside the store, so a stolen
// database holds neither codes nor tokens. (Raw answers, kept as evidence beside it,
// hold what was typed and where it was sent.)
type Secrets struct {
	code, token, letter []byte
}

// LogValue implements slog.LogValuer.
func (*Secrets) LogValue() slog.Value { return slog.StringValue("[secrets]") }

// NewSecrets derives the keys from the master secret (HKDF-SHA-256, RFC 5869).
func NewSecrets(master []byte) (*Secrets, error) {
	if len(master) != SecretSize {
		return nil, fmt.Errorf("the master secret has %d bytes, want %d", len(master), SecretSize)
	}
	var s Secrets
	for _, k := range []struct {
		dst  *[]byte
		info string
	}{{&s.code, "countersign code v1"}, {&s.token, "countersign token v1"}, {&s.letter, "countersign letter v1"}} {
		key, err := hkdf.Key(sha256.New, master, nil, k.info, 32)
		if err != nil {
			return nil, fmt.Errorf("deriving %s: %w", k.info, err)
		}
		*k.dst = key
	}
	return &s, nil
}

// mac is HMAC-SHA-256 over the parts, each preceded by its length, so that no two
// lists of parts give the same input.
func mac(key []byte, parts ...string) []byte {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		m.Write(n[:])
		m.Write([]byte(p))
	}
	return m.Sum(nil)
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// TokenLen is the number of characters of a token: 130 bits in base32, lower case.
const TokenLen = 26

// Token derives the reply token of a party: it ties an answer to the request, the
// party and the version. Only its hash is stored; see [TokenHash].
func (s *Secrets) Token(request, party string, version int) string {
	return base32Lower.EncodeToString(mac(s.token, request, party, fmt.Sprint(version)))[:TokenLen]
}

// TokenHash is the index under which the store knows a token, or a Message-ID of
// ours: the SHA-256, in hex. Upper and lower case do not count, as mail systems
// change them.
func TokenHash(token string) string {
	h := sha256.Sum256([]byte(strings.ToLower(token)))
	return hex.EncodeToString(h[:])
}

// TagKind is what stands behind the plus sign of a signing address.
type TagKind int

// The kinds of tag.
const (
	TagRule   TagKind = iota // any other text: chosen by the sender, for rules
	TagToken                 // 26 base32 characters: the reply token
	TagBounce                // "b-" and 26 base32 characters: a letter's return path
)

// ClassifyTag says what a plus tag is.
func ClassifyTag(tag string) TagKind {
	tag = strings.ToLower(tag)
	rest, bounce := strings.CutPrefix(tag, "b-")
	if len(rest) != TokenLen || strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return TagRule
	}
	if bounce {
		return TagBounce
	}
	return TagToken
}

// DeriveCode derives the code of a challenge: decimal digits from
// HMAC(K_code, request ‖ challenge ‖ party ‖ H ‖ expiry). It is bound to the
// documents by H, to the person by the party, and to its time by the expiry.
func (s *Secrets) DeriveCode(r *Request, p *Party, c Challenge) Code {
	sum := mac(s.code, r.ID, fmt.Sprint(c.N), p.ID, r.H, fmt.Sprint(c.Expires.Unix()))
	// 256 bits reduced modulo 10^n: the bias is below 2^-200.
	n := new(big.Int).SetBytes(sum)
	mod := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(r.Terms.CodeDigits)), nil)
	return Code(fmt.Sprintf("%0*d", r.Terms.CodeDigits, n.Mod(n, mod)))
}

// MatchCode returns the number of the challenge of this party whose code was
// typed, or 0. All challenges are compared, each in constant time, so that an old
// code is told from a wrong one.
func (s *Secrets) MatchCode(r *Request, p *Party, typed Code) int {
	n := 0
	for _, c := range p.Challenges {
		if subtle.ConstantTimeCompare([]byte(s.DeriveCode(r, p, c)), []byte(typed)) == 1 {
			n = c.N
		}
	}
	return n
}

// LetterMAC starts the keyed MAC of a letter's final bytes.
func (s *Secrets) LetterMAC() *LetterMAC { return &LetterMAC{hmac.New(sha256.New, s.letter)} }

// A LetterMAC is an io.Writer that takes in the bytes of a letter.
type LetterMAC struct {
	h interface {
		Write(p []byte) (int, error)
		Sum(b []byte) []byte
	}
}

// Write implements io.Writer; it never fails.
func (m *LetterMAC) Write(p []byte) (int, error) { return m.h.Write(p) }

// Sum returns the MAC in hex.
func (m *LetterMAC) Sum() string { return hex.EncodeToString(m.h.Sum(nil)) }

// Fingerprint is H, in hex: the SHA-256 of the one document, or of the documents'
// 32-byte digests in attachment order.
func Fingerprint(docs []Document) (string, error) {
	if len(docs) == 0 {
		return "", errors.New("fingerprint of no documents")
	}
	var all []byte
	for _, d := range docs {
		b, err := hex.DecodeString(string(d.R0))
		if err != nil || len(b) != sha256.Size {
			return "", fmt.Errorf("document %q has no R0 digest", d.Name)
		}
		all = append(all, b...)
	}
	if len(docs) == 1 {
		return hex.EncodeToString(all), nil
	}
	h := sha256.Sum256(all)
	return hex.EncodeToString(h[:]), nil
}
