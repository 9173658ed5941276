package pdf

// A Permission is something that the author of an encrypted file may forbid to those
// who open it without the owner password, as this package does.
type Permission uint8

// The permissions (Table 22).
const (
	// SignFields: sign the empty signature fields that the form has.
	SignFields Permission = iota
	// CreateFields: add signature fields to the form.
	CreateFields
)

// The bits of /P, which the standard counts from 1.
const (
	permitModify   = 1 << (4 - 1)
	permitAnnotate = 1 << (6 - 1) // annotations and fields; with permitModify also new fields
	permitFill     = 1 << (9 - 1) // existing fields, also without permitAnnotate
)

// CheckPermission refuses, with [ReasonPermission], what the author of an encrypted file
// has forbidden. A file that is not encrypted forbids nothing.
func (f *File) CheckPermission(p Permission) error {
	if f.crypt == nil {
		return nil
	}
	has := func(bits uint32) bool { return f.crypt.permissions&bits == bits }
	switch {
	case p == CreateFields && has(permitModify|permitAnnotate):
	case p == CreateFields:
		return refuse(ReasonPermission, "its author does not allow to add signature fields")
	case has(permitAnnotate):
	case f.crypt.revision >= 3 && has(permitFill): // revision 2 does not have this bit
	default:
		return refuse(ReasonPermission, "its author does not allow to fill in or sign its form fields")
	}
	return nil
}

// checkFieldPermission is CheckPermission for the field of this name, which is to be
// signed if it exists, and else to be made first.
func (f *File) checkFieldPermission(name string) error {
	if f.crypt == nil {
		return nil
	}
	has, err := f.HasField(name)
	if err != nil {
		return err
	}
	if has && name != "" {
		return f.CheckPermission(SignFields)
	}
	return f.CheckPermission(CreateFields)
}
