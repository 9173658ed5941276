package inbox

import (
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"
)

// mark writes the keyword and moves the mails into folder ("" = leave them). It
// returns the mails that are still in the folder that is read.
func (s *session) mark(set imap.UIDSet, folder string) (left imap.UIDSet, err error) {
	if s.canKeyword {
		err := s.store(set, Keyword)
		if lost(err) {
			return set, err
		}
		if err != nil {
			s.cfg.Log.Warn("mail server refuses the keyword", "mailbox", s.cfg.Name, "keyword", Keyword, "err", err)
		}
	}
	if folder == "" {
		return set, nil
	}
	err = s.safeMove(set, folder)
	if answer, ok := errors.AsType[*imap.Error](err); ok && answer.Code == imap.ResponseCodeTryCreate {
		if err = s.ensureFolder(folder); err == nil {
			err = s.safeMove(set, folder)
		}
	}
	if lost(err) {
		return set, err
	}
	if err != nil {
		s.cfg.Log.Warn("mails could not be moved", "mailbox", s.cfg.Name, "folder", folder, "err", err)
	}
	return s.remaining(set)
}

// store adds one flag.
func (s *session) store(set imap.UIDSet, flag imap.Flag) error {
	err := s.do(func() error {
		return s.client.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{flag}}, nil).Close()
	})
	if err != nil {
		return fmt.Errorf("UID STORE %s: %w", flag, err)
	}
	return nil
}

// safeMove moves mails. The library's Move is used only with servers that have MOVE:
// elsewhere it deletes without looking whether the copy worked, and without UIDPLUS
// it removes every mail in the folder that is flagged as deleted.
func (s *session) safeMove(set imap.UIDSet, folder string) error {
	if s.caps.Has(imap.CapMove) {
		err := s.do(func() error {
			_, err := s.client.Move(set, folder).Wait()
			return err
		})
		if err != nil {
			return fmt.Errorf("UID MOVE to %s: %w", folder, err)
		}
		return nil
	}
	if !s.caps.Has(imap.CapUIDPlus) {
		return nil
	}
	copied, err := s.copyTo(set, folder)
	if err != nil || len(copied) == 0 {
		return err
	}
	if err := s.store(copied, imap.FlagDeleted); err != nil {
		return err
	}
	err = s.do(func() error { return s.client.UIDExpunge(copied).Close() })
	if err != nil {
		return fmt.Errorf("UID EXPUNGE: %w", err)
	}
	return nil
}

// copyTo copies mails and returns those that the server proved to have copied
// (COPYUID, RFC 4315 3). Mails that were gone already are not among them.
func (s *session) copyTo(set imap.UIDSet, folder string) (imap.UIDSet, error) {
	var data *imap.CopyData
	err := s.do(func() (err error) {
		data, err = s.client.Copy(set, folder).Wait()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("UID COPY to %s: %w", folder, err)
	}
	if data.SourceUIDs.Dynamic() || data.DestUIDs.Dynamic() {
		return nil, nil
	}
	if from, to := count(data.SourceUIDs), count(data.DestUIDs); from != to {
		return nil, fmt.Errorf("UID COPY to %s: the server says %d mails became %d; nothing is deleted", folder, from, to)
	}
	var proved imap.UIDSet
	for uid := range uids(set) {
		if data.SourceUIDs.Contains(uid) {
			proved.AddNum(uid)
		}
	}
	return proved, nil
}

// count is the number of mails in a set.
func count(set imap.UIDSet) (n uint64) {
	for _, r := range set {
		n += uint64(r.Stop) - uint64(r.Start) + 1
	}
	return n
}

// remaining tells which of the mails are still in the folder.
func (s *session) remaining(set imap.UIDSet) (imap.UIDSet, error) {
	var left imap.UIDSet
	err := s.do(func() error {
		data, err := s.client.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{set}}, nil).Wait()
		if err == nil {
			left, _ = data.All.(imap.UIDSet)
		}
		return err
	})
	if err != nil {
		return set, fmt.Errorf("UID SEARCH: %w", err)
	}
	return left, nil
}
