package certpath

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// A node is a certificate with its key.
type node struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serials int64

// make1 issues a certificate for a name. CA unless the name begins with a small letter.
func make1(t *testing.T, name string, issuer *node, change func(*x509.Certificate)) *node {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certify(t, name, key, issuer, change)
}

func certify(t *testing.T, name string, key *ecdsa.PrivateKey, issuer *node, change func(*x509.Certificate)) *node {
	t.Helper()
	serials++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serials), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if name[0] >= 'A' && name[0] <= 'Z' {
		c.IsCA, c.MaxPathLen, c.KeyUsage = true, -1, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	}
	if change != nil {
		change(c)
	}
	n := &node{c, key}
	if issuer == nil {
		issuer = n
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer.cert, key.Public(), issuer.key)
	if err == nil {
		n = &node{key: key}
		n.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func certs(nodes ...*node) []*x509.Certificate {
	var out []*x509.Certificate
	for _, n := range nodes {
		out = append(out, n.cert)
	}
	return out
}

func names(p Path) string {
	var out []string
	for _, c := range p.Certs {
		out = append(out, c.Subject.CommonName)
	}
	return strings.Join(out, " ")
}

func TestPathsAndWhatBreaksThem(t *testing.T) {
	root := make1(t, "Root", nil, nil)
	other := make1(t, "Other", nil, nil)
	ca := make1(t, "CA", root, nil)
	leaf := make1(t, "leaf", ca, nil)
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	tsaUsage := func(critical bool, oids ...asn1.ObjectIdentifier) func(*x509.Certificate) {
		value, err := asn1.Marshal(oids)
		if err != nil {
			t.Fatal(err)
		}
		return func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: oidExtKeyUsage, Critical: critical, Value: value}}
		}
	}
	stamping, clientAuth := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	short := make1(t, "Short", root, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	below := make1(t, "Below", short, nil)
	ended := make1(t, "Ended", root, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })
	noSign := make1(t, "NoSign", root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	mailOnly := make1(t, "MailOnly", root, usage(x509.ExtKeyUsageEmailProtection))
	webOnly := make1(t, "WebOnly", root, usage(x509.ExtKeyUsageServerAuth))
	named := make1(t, "Named", root, func(c *x509.Certificate) {
		c.PermittedEmailAddresses, c.PermittedDNSDomainsCritical = []string{"example.org"}, true
	})
	odd := make1(t, "Odd", root, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 999, 9}, Critical: true, Value: []byte{5, 0}}}
	})
	address := func(a string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.EmailAddresses = []string{a} }
	}
	tsa := make1(t, "tsa", ca, tsaUsage(true, stamping))
	for _, c := range []struct {
		name     string
		leaf     *node
		pool     []*node
		roots    []*node // nil: none configured
		stamping bool
		at       time.Duration
		want     string // names of the path, or part of the error
	}{
		{"straight", leaf, []*node{ca}, []*node{root}, false, 0, "leaf CA Root"},
		{"root from the pool", leaf, []*node{ca, root}, nil, false, 0, "leaf CA Root"},
		{"another root configured", leaf, []*node{ca, root}, []*node{other}, false, 0, "not among the configured roots"},
		{"issuer missing", leaf, nil, []*node{root}, false, 0, "issuer of"},
		{"an intermediate as anchor", leaf, []*node{root}, []*node{ca}, false, 0, "leaf CA"},
		{"the leaf as anchor", leaf, nil, []*node{leaf}, false, 0, "leaf"},
		{"too late", leaf, []*node{ca}, []*node{root}, false, 2 * time.Hour, "expired"},
		{"too early", leaf, []*node{ca}, []*node{root}, false, -2 * time.Hour, "not yet valid"},
		{"a CA that ended", make1(t, "leaf", ended, nil), []*node{ended}, []*node{root}, false, 0, "expired"},
		{"path length", make1(t, "leaf", below, nil), []*node{short, below}, []*node{root}, false, 0, "too many"},
		{"issued by an end entity", make1(t, "person", leaf, nil), []*node{leaf, ca}, []*node{root}, false, 0, "missing"},
		{"CA may not sign certificates", make1(t, "leaf", noSign, nil), []*node{noSign}, []*node{root}, false, 0, "missing"},
		{"usages nest", make1(t, "leaf", mailOnly, usage(x509.ExtKeyUsageEmailProtection, x509.ExtKeyUsageClientAuth)), []*node{mailOnly}, []*node{root}, false, 0, "leaf MailOnly Root"},
		{"usages do not nest", make1(t, "leaf", webOnly, usage(x509.ExtKeyUsageEmailProtection)), []*node{webOnly}, []*node{root}, false, 0, "restricted"},
		{"name within its constraint", make1(t, "leaf", named, address("ann@example.org")), []*node{named}, []*node{root}, false, 0, "leaf Named Root"},
		{"name outside its constraint", make1(t, "leaf", named, address("ann@example.com")), []*node{named}, []*node{root}, false, 0, "not permitted"},
		{"unknown critical extension", make1(t, "leaf", odd, nil), []*node{odd}, []*node{root}, false, 0, "unhandled critical"},
		{"key usage", make1(t, "leaf", ca, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), []*node{ca}, []*node{root}, false, 0, "key usage"},
		{"a TSA", tsa, []*node{ca}, []*node{root}, true, 0, "tsa CA Root"},
		{"a TSA as signer", tsa, []*node{ca}, []*node{root}, false, 0, "timeStamping alone"},
		{"a signer as TSA", leaf, []*node{ca}, []*node{root}, true, 0, "not critical"},
		{"a TSA, not critical", make1(t, "tsa", ca, tsaUsage(false, stamping)), []*node{ca}, []*node{root}, true, 0, "not critical"},
		{"a TSA and more", make1(t, "tsa", ca, tsaUsage(true, stamping, clientAuth)), []*node{ca}, []*node{root}, true, 0, "timeStamping alone"},
		{"a TSA below a CA for mail", make1(t, "tsa", mailOnly, tsaUsage(true, stamping)), []*node{mailOnly}, []*node{root}, true, 0, "incompatible key usage"},
	} {
		r := Request{Leaf: c.leaf.cert, Pool: certs(c.pool...), Roots: certs(c.roots...), At: now.Add(c.at), TimeStamping: c.stamping}
		paths, err := Build(r)
		switch {
		case err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case err == nil && (names(paths[0]) != c.want || paths[0].Anchored != (c.roots != nil)):
			t.Errorf("%s: %s, anchored %v, want %q", c.name, names(paths[0]), paths[0].Anchored, c.want)
		}
	}
}

// Cross certificates and circles: every path is found once, the shortest first, whatever
// the order of the pool.
func TestCrossCertificates(t *testing.T) {
	rootA, rootB := make1(t, "A", nil, nil), make1(t, "B", nil, nil)
	aByB := certify(t, "A", rootA.key, rootB, nil) // A's key, certified by B
	bByA := certify(t, "B", rootB.key, rootA, nil)
	ca := make1(t, "CA", rootA, nil)
	leaf := make1(t, "leaf", ca, nil)
	namesake := make1(t, "CA", rootB, nil) // same name, another key
	pool := certs(rootA, rootB, aByB, bByA, ca, namesake)
	for range 20 {
		mathrand.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		both, err := Build(Request{Leaf: leaf.cert, Pool: pool, Roots: certs(rootB, rootA), At: now})
		if err != nil || len(both) != 2 || names(both[0]) != "leaf CA A" || names(both[1]) != "leaf CA A B" {
			t.Fatalf("%v %v", both, err)
		}
		onlyB, err := Build(Request{Leaf: leaf.cert, Pool: pool, Roots: certs(rootB), At: now})
		if err != nil || len(onlyB) != 1 || names(onlyB[0]) != "leaf CA A B" || !onlyB[0].Certs[2].Equal(aByB.cert) {
			t.Fatalf("%v %v", onlyB, err)
		}
	}
}

// A pool made to keep us busy is given up on.
func TestTheSearchIsBounded(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// Every one of these issues every other one, as far as names and keys say.
	strip := func(c *x509.Certificate) { c.SubjectKeyId = nil }
	maker := certify(t, "Same", key, nil, strip)
	var pool []*x509.Certificate
	for range 300 {
		other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		pool = append(pool, certify(t, "Same", other, maker, strip).cert)
	}
	_, err = Build(Request{Leaf: make1(t, "leaf", maker, nil).cert, Pool: pool, Roots: certs(make1(t, "Root", nil, nil)), At: now})
	var missing *MissingError
	if !errors.As(err, &missing) {
		t.Errorf("%v", err)
	}
}

// A key of a million bits in the pool, or in the leaf, would take minutes to check with.
func TestHugeKeysAreLeftOut(t *testing.T) {
	root := make1(t, "Root", nil, nil)
	ca := make1(t, "CA", root, func(c *x509.Certificate) { c.SubjectKeyId = nil })
	leaf := make1(t, "leaf", ca, nil)
	n := new(big.Int).Lsh(big.NewInt(1), 1_000_000)
	huge := func(name string, key usages) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now, NotAfter: now.Add(2 * time.Hour),
			BasicConstraintsValid: true, IsCA: key == forCA, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		der, err := x509.CreateCertificate(rand.Reader, c, root.cert, &rsa.PublicKey{N: new(big.Int).SetBit(n, 0, 1), E: 1<<31 - 1}, root.key)
		if err != nil {
			t.Fatal(err)
		}
		c, err = x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	start := time.Now()
	paths, err := Build(Request{Leaf: leaf.cert, Pool: []*x509.Certificate{huge("CA", forCA), ca.cert}, Roots: certs(root), At: now})
	if err != nil || len(paths) != 1 {
		t.Errorf("%d paths, %v", len(paths), err)
	}
	if _, err := Build(Request{Leaf: huge("leaf", forSigning), Roots: certs(root), At: now}); err == nil {
		t.Error("a leaf with a huge key has a path")
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

type usages int

const (
	forCA usages = iota
	forSigning
)

func TestNothingToBuildFrom(t *testing.T) {
	if _, err := Build(Request{At: now}); err == nil {
		t.Error("a path without a certificate")
	}
}
