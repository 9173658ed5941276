package pdf

// StreamData returns the decoded data of a stream that is not part of the file's own
// structure: unfiltered or with one FlateDecode filter. Neither that nor the data in the
// file may be longer than limit bytes.
func (f *File) StreamData(o Object, limit int) ([]byte, error) {
	if !o.Stream {
		return nil, broken("object %d is no stream", o.Ref.Num)
	}
	return f.decode(o, limit)
}

// CheckExtending refuses to add validation data and a document timestamp to a file
// whose certification is in none of its fields, or that nobody has signed. No
// certification and no lock forbids either (12.8.2.2.2, 12.8.4, 12.8.5).
func (f *File) CheckExtending() error {
	fields, err := f.SignatureFields()
	if err != nil {
		return err
	}
	for _, fd := range fields {
		if fd.Signed {
			return f.checkPerms(fields)
		}
	}
	return refuse(ReasonUnsigned, "none of its signature fields is signed")
}
