package pdf

import "fmt"

// A Reason says why a file is refused, in one stable word for programs.
type Reason string

// The reasons. Each has its own advice in [RefusedError.Error].
const (
	// ReasonNotPDF: the file has no PDF header at all.
	ReasonNotPDF Reason = "not-pdf"
	// ReasonBroken: the file violates the standard where it matters for signing.
	ReasonBroken Reason = "broken"
	// ReasonIrregular: common programs repair the file when they open it, which
	// breaks signatures, and it cannot be mended by appending to it: it is signed.
	ReasonIrregular Reason = "irregular"
	// ReasonJunk: foreign bytes before the header or after the end.
	ReasonJunk Reason = "junk"
	// ReasonTooLarge: a limit of this package is exceeded.
	ReasonTooLarge Reason = "too-large"
	// ReasonEncrypted: the file does not open without a password or a certificate.
	ReasonEncrypted Reason = "encrypted"
	// ReasonPermission: the file opens, but its author forbids to sign it.
	ReasonPermission Reason = "permission"
	// ReasonLocked: a signature in the file forbids what was asked for.
	ReasonLocked Reason = "locked"
	// ReasonSignature: a signature in the file is malformed already.
	ReasonSignature Reason = "signature"
	// ReasonXFA: the file is a dynamic XFA form; its look is made by a program.
	ReasonXFA Reason = "xfa"
	// ReasonUnsigned: there is no signature whose life could be extended.
	ReasonUnsigned Reason = "unsigned"
	// ReasonUnsupported: legal, but not handled by this package.
	ReasonUnsupported Reason = "unsupported"
)

// A RefusedError says in plain English why a PDF is not signed and what to do.
type RefusedError struct {
	Reason Reason
	Detail string // what exactly, without advice
}

// Error returns one or two sentences for the person who sent the file.
func (e *RefusedError) Error() string {
	what, todo := e.Reason.words()
	return fmt.Sprintf("%s: %s; %s", what, e.Detail, todo)
}

const saveAgain = "open it in the program that made it, save or print it as a new PDF, and send that"

func (r Reason) words() (what, todo string) {
	switch r {
	case ReasonNotPDF:
		return "this is not a PDF", "export the document as PDF and send that"
	case ReasonIrregular:
		return "this PDF is built in a way that common readers repair, which would break a signature", saveAgain
	case ReasonJunk:
		return "this PDF has foreign bytes around it", saveAgain
	case ReasonTooLarge:
		return "this PDF is beyond a safety limit", "make it smaller or simpler, or print it as a new PDF"
	case ReasonEncrypted:
		return "this PDF is encrypted", "save it without encryption in the program that made it, and send that"
	case ReasonPermission:
		return "this PDF is restricted", "ask its author for a version without restrictions, or to allow changes and signatures"
	case ReasonLocked:
		return "this PDF is locked by a signature in it", "ask the one who signed it for a version that may still be signed"
	case ReasonSignature:
		return "a signature already in this PDF is damaged", "ask for the original file, without later changes"
	case ReasonXFA:
		return "this PDF is a dynamic form (XFA)", "print it as a new PDF and send that"
	case ReasonUnsigned:
		return "this PDF has no signature yet", "sign it first"
	case ReasonUnsupported:
		return "this PDF uses something that cannot be signed here", saveAgain
	default:
		return "this PDF is damaged", saveAgain
	}
}

// refuse makes a RefusedError with a formatted detail.
func refuse(r Reason, format string, args ...any) error {
	return &RefusedError{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

func broken(format string, args ...any) error {
	return refuse(ReasonBroken, format, args...)
}
