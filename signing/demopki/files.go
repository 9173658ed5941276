package demopki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files that Write makes. The certificates keep the URL that the PKI was made with. Each of the .pem files but root.pem has a PKCS #8 key
// and the chain, and mode 0600; root.pem is the root certificate alone.
const (
	RootFile    = "root.pem"
	RootKeyFile = "root-key.pem"
	SealFile    = "seal.pem"
	CAFile      = "ca.pem"
	TSAFile     = "tsa.pem"
)

func (p *PKI) files() map[string]**Identity {
	return map[string]**Identity{RootKeyFile: &p.Root, SealFile: &p.Seal, CAFile: &p.CA, TSAFile: &p.Timestamps}
}

// Write puts the PKI into dir, which must exist, and leaves other files alone.
// root.pem comes last, so a directory that has it is complete.
func (p *PKI) Write(dir string) error {
	for name, id := range p.files() {
		der, err := x509.MarshalPKCS8PrivateKey((*id).key)
		if err != nil {
			return fmt.Errorf("write demo key %s: %w", name, err)
		}
		var b bytes.Buffer
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		for _, c := range (*id).chain {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			return fmt.Errorf("write demo key: %w", err)
		}
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Root.certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, RootFile), root, 0o644); err != nil {
		return fmt.Errorf("write demo root: %w", err)
	}
	return nil
}

// Load reads what Write wrote. Without root.pem the error is fs.ErrNotExist.
func Load(dir string) (*PKI, error) {
	if _, err := os.Stat(filepath.Join(dir, RootFile)); err != nil {
		return nil, fmt.Errorf("load demo PKI: %w", err)
	}
	var p PKI
	for name, id := range p.files() {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("load demo PKI: %w", err)
		}
		if *id, err = readIdentity(raw); err != nil {
			return nil, fmt.Errorf("load demo PKI: %s: %w; delete the directory to make a new one", name, err)
		}
	}
	if urls := p.Seal.certificate().OCSPServer; len(urls) > 0 {
		p.url = strings.TrimSuffix(urls[0], pathOCSP)
	}
	return &p, nil
}

func readIdentity(raw []byte) (*Identity, error) {
	var id Identity
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, err
			}
			id.key, _ = key.(crypto.Signer)
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, err
			}
			id.chain = append(id.chain, c)
		}
	}
	if id.key == nil || len(id.chain) == 0 || !samePublicKey(id.key.Public(), id.chain[0].PublicKey) {
		return nil, errors.New("no key with its certificate")
	}
	return &id, nil
}
