package demomail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// A Client is the mail program of one person: it shows new mail in the INBOX and
// sends. It works with any IMAP and SMTP server, not only with this package's.
type Client struct {
	Person
	IMAP, SMTP string // host:port
	// TLS, if not nil, secures both by STARTTLS; without it both are plain text.
	TLS *tls.Config
	// Pause is how long Next waits between two looks; default 20 ms.
	Pause time.Duration

	conn *imapclient.Client
	last imap.UID // the newest mail shown
}

// Next waits for the next mail in the INBOX and returns its raw bytes. A lost
// connection is made again.
func (c *Client) Next(ctx context.Context) ([]byte, error) {
	for {
		raw, err := c.look(ctx)
		if err != nil {
			c.Close()
		}
		if raw != nil {
			return raw, nil
		}
		pause := max(c.Pause, 20*time.Millisecond)
		if err != nil {
			pause = 200 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			c.Close()
			return nil, fmt.Errorf("%s waits for mail: %w", c.Addr, errors.Join(ctx.Err(), err))
		case <-time.After(pause):
		}
	}
}

// Close ends the connection to the IMAP server.
func (c *Client) Close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is lost with it
		c.conn = nil
	}
}

// look fetches the first mail that was not shown yet; nil if there is none.
func (c *Client) look(ctx context.Context) ([]byte, error) {
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return nil, err
		}
	}
	var set imap.UIDSet
	set.AddRange(c.last+1, 0)
	found, err := c.conn.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{set}}, nil).Wait()
	if err != nil {
		return nil, err
	}
	for _, uid := range found.AllUIDs() {
		if uid <= c.last { // n:* names the last mail even if it is older
			continue
		}
		whole := &imap.FetchItemBodySection{Peek: true}
		got, err := c.conn.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
		if err != nil {
			return nil, err
		}
		c.last = uid
		if len(got) == 1 {
			return got[0].FindBodySection(whole), nil
		}
	}
	return nil, nil //nolint:nilnil // no new mail is no error
}

func (c *Client) dial(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.IMAP)
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Minute)) // no session of a test lasts longer
	if c.TLS != nil {
		if c.conn, err = imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: c.TLS}); err != nil {
			return errors.Join(err, conn.Close())
		}
	} else {
		c.conn = imapclient.New(conn, nil)
	}
	if err := c.conn.Login(c.Addr, c.Password).Wait(); err != nil {
		return err
	}
	_, err = c.conn.Select("INBOX", nil).Wait()
	return err
}

// Send submits a mail with the person's login.
func (c *Client) Send(ctx context.Context, to []string, raw []byte) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.SMTP)
	if err != nil {
		return err
	}
	var s *smtp.Client
	if c.TLS != nil {
		if s, err = smtp.NewClientStartTLS(conn, c.TLS); err != nil {
			return errors.Join(err, conn.Close())
		}
	} else {
		s = smtp.NewClient(conn)
	}
	defer s.Close()
	if c.Password != "" {
		if err := s.Auth(sasl.NewPlainClient("", c.Addr, c.Password)); err != nil {
			return fmt.Errorf("%s logs in: %w", c.Addr, err)
		}
	}
	if err := s.SendMail(c.Addr, to, strings.NewReader(string(raw))); err != nil {
		return fmt.Errorf("%s sends: %w", c.Addr, err)
	}
	return ignoreEOF(s.Quit())
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Count returns the number of mails in a folder.
func (c *Client) Count(ctx context.Context, folder string) (int, error) {
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return 0, err
		}
	}
	st, err := c.conn.Status(folder, &imap.StatusOptions{NumMessages: true}).Wait()
	if err != nil || st.NumMessages == nil {
		return 0, fmt.Errorf("counting the mails in %s: %w", folder, err)
	}
	return int(*st.NumMessages), nil
}
