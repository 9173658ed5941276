package pdf

// CheckExtending refuses to add validation data and a document timestamp to a file
// whose certification is in none of its fields, or that nobody has signed. No
// certification and no lock forbids either (12.8.2.2.2, 12.8.4, 12.8.5); the author of an
// encrypted file may, as the timestamp has a field of its own.
func (f *File) CheckExtending() error {
	if err := f.CheckPermission(CreateFields); err != nil {
		return err
	}
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
