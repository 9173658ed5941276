package configs

import (
	"fmt"
	"os"
)

// Load reads and checks the configuration in a file. Problems with its text come
// back as [Problems].
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, problems := Parse(path, data)
	if len(problems) > 0 {
		return nil, Problems(problems)
	}
	return c, nil
}

// CheckFiles tells which of the files that the configuration names cannot be read.
// The secret is not among them: it is made at the first start.
func (c *Config) CheckFiles() []Problem {
	var ps []Problem
	check := func(path, file string) {
		if file == "" {
			return
		}
		f, err := os.Open(file)
		if err != nil {
			ps = append(ps, Problem{File: file, Path: path, Text: fmt.Sprintf("cannot be read: %v", err)})
			return
		}
		defer f.Close()
		if st, err := f.Stat(); err == nil && st.IsDir() {
			ps = append(ps, Problem{File: file, Path: path, Text: "is a directory; give a file"})
		}
	}
	for i, m := range c.Mailboxes {
		check(fmt.Sprintf("mailboxes[%d].imap.password_file", i), m.IMAP.PasswordFile)
		check(fmt.Sprintf("mailboxes[%d].imap.ca_file", i), m.IMAP.CAFile)
	}
	check("smtp.password_file", c.SMTP.PasswordFile)
	check("smtp.ca_file", c.SMTP.CAFile)
	for _, name := range c.World().Keys {
		k := c.Keys[name]
		check("keys."+name+".file", k.File)
		check("keys."+name+".chain", k.Chain)
		check("keys."+name+".password_file", k.PasswordFile)
	}
	for i, t := range c.TSA {
		check(fmt.Sprintf("tsa[%d].ca_file", i), t.CAFile)
		check(fmt.Sprintf("tsa[%d].password_file", i), t.PasswordFile)
	}
	check("evidence.trust", c.Evidence.Trust)
	return ps
}
