package inbox

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// maxHeader is how much is fetched of a mail that is too big, in bytes.
const maxHeader = 256 << 10

var (
	errGone   = errors.New("the mail is no longer in the folder")
	errNoData = errors.New("the server answers OK but sends no data for this mail")
)

// A spoolError is a failure to write what was fetched: not the server's fault.
type spoolError struct{ err error }

func (e *spoolError) Error() string { return "store the mail: " + e.err.Error() }
func (e *spoolError) Unwrap() error { return e.err }

// meta is what is asked before a body is fetched.
type meta struct {
	date time.Time
	size int64
}

// search gives the mails that are not marked as done.
func (s *session) search() (imap.UIDSet, error) {
	var criteria imap.SearchCriteria // ALL
	if s.canKeyword {
		criteria.NotFlag = []imap.Flag{Keyword} // UNKEYWORD
	}
	var found imap.UIDSet
	err := s.do(func() error {
		data, err := s.client.UIDSearch(&criteria, nil).Wait()
		if err != nil {
			return err // data may be there all the same, and incomplete
		}
		found, _ = data.All.(imap.UIDSet)
		if found.Dynamic() {
			return fmt.Errorf("the server gave %q as a list of mails", found.String())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("UID SEARCH: %w", err)
	}
	return found, nil
}

// uids lists a set in ascending order without building the list.
func uids(set imap.UIDSet) iter.Seq[imap.UID] {
	return func(yield func(imap.UID) bool) {
		for _, r := range set {
			for u := uint64(r.Start); u <= uint64(r.Stop); u++ {
				if !yield(imap.UID(u)) {
					return
				}
			}
		}
	}
}

// describe fetches size and date of a few mails in one command.
func (s *session) describe(batch []imap.UID) (map[imap.UID]meta, error) {
	found := make(map[imap.UID]meta, len(batch))
	err := s.do(func() error {
		cmd := s.client.Fetch(imap.UIDSetNum(batch...), &imap.FetchOptions{UID: true, InternalDate: true, RFC822Size: true})
		defer cmd.Close()
		for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
			data, err := msg.Collect()
			if err != nil {
				return err
			}
			if data.UID != 0 {
				found[data.UID] = meta{date: data.InternalDate, size: data.RFC822Size}
			}
		}
		return cmd.Close()
	})
	if lost(err) {
		return nil, fmt.Errorf("UID FETCH of sizes: %w", err)
	}
	return found, nil // after a NO the bodies are tried one by one all the same
}

// fetch streams one mail into w.
func (s *session) fetch(uid imap.UID, m meta, w io.Writer) (size int64, truncated bool, err error) {
	section := &imap.FetchItemBodySection{Peek: true}
	if truncated = m.size > s.cfg.MaxSize; truncated {
		section.Specifier = imap.PartSpecifierHeader
		section.Partial = &imap.SectionPartial{Size: maxHeader}
	}
	err = s.do(func() error {
		n, cut, err := s.body(imap.UIDSetNum(uid), uid, section, w)
		if errors.Is(err, errNoData) {
			n, cut, err = s.bodyByNumber(uid, section, w)
		}
		size, truncated = n, truncated || cut
		return err
	})
	if section.Partial != nil {
		size = m.size
	}
	return size, truncated, err
}

// bodyByNumber is the second try for servers that put the UID behind the body, where
// the library doesn't see it: the mail is asked for by its sequence number.
func (s *session) bodyByNumber(uid imap.UID, section *imap.FetchItemBodySection, w io.Writer) (int64, bool, error) {
	data, err := s.client.Search(&imap.SearchCriteria{UID: []imap.UIDSet{imap.UIDSetNum(uid)}}, nil).Wait()
	if err != nil {
		return 0, false, err
	}
	nums := data.AllSeqNums()
	if len(nums) == 0 {
		return 0, false, errGone
	}
	return s.body(imap.SeqSetNum(nums[0]), uid, section, w)
}

// body runs one FETCH and copies the body section. The command is always read to its
// end, or nothing else could be sent any more.
func (s *session) body(set imap.NumSet, uid imap.UID, section *imap.FetchItemBodySection, w io.Writer) (n int64, cut bool, err error) {
	cmd := s.client.Fetch(set, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}})
	defer cmd.Close()
	msg := cmd.Next()
	if msg == nil {
		if err := cmd.Close(); err != nil {
			return 0, false, fmt.Errorf("UID FETCH: %w", err)
		}
		return 0, false, errNoData
	}
	got := false
	for item := msg.Next(); item != nil; item = msg.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			if item.UID != uid {
				return 0, false, fmt.Errorf("the server sent mail %d for mail %d", item.UID, uid)
			}
		case imapclient.FetchItemDataBodySection:
			if item.Literal == nil || got {
				continue
			}
			got = true
			if n, cut, err = s.copyBody(item.Literal, w); err != nil {
				return 0, false, err
			}
		}
	}
	if err := cmd.Close(); err != nil {
		return 0, false, fmt.Errorf("UID FETCH: %w", err)
	}
	if !got || n == 0 { // some servers send a mail they can't read as empty
		return 0, false, errNoData
	}
	return n, cut, nil
}

// copyBody copies a literal. If it is bigger than allowed although the server named
// another size before, only the beginning is kept.
func (s *session) copyBody(literal imap.LiteralReader, w io.Writer) (n int64, cut bool, err error) {
	size := literal.Size()
	var r io.Reader = literal
	if cut = size > max(s.cfg.MaxSize, maxHeader); cut {
		r = io.LimitReader(literal, maxHeader)
	}
	sink := &spoolWriter{w: w}
	n, err = io.Copy(sink, r)
	if sink.err != nil {
		return 0, false, &spoolError{sink.err}
	}
	if err == nil && !cut && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		// The library's decoder goes on by itself now; the command must not be read
		// to its end before the decoder has stopped.
		s.conn.Close()
		<-s.client.Closed()
		return 0, false, fmt.Errorf("mail of %d bytes broke off after %d: %w", size, n, err)
	}
	return size, cut, nil
}

// spoolWriter remembers that it was the writing that failed.
type spoolWriter struct {
	w   io.Writer
	err error
}

func (s *spoolWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}
