package mailflow

import (
	"slices"
	"strings"
)

// MergeLines joins the lines of the sender's answer to those of the draft that it
// completes. problems are what the sender was asked for: a line that could never be
// used is left out, one whose person may not take that role as soon as the answer
// names somebody for it. What was in order stays and need not be written again; an
// answer that names everybody of a role anew gives their order.
func MergeLines(old []Line, problems []Problem, more []Line) []Line {
	var merged []Line
	for _, l := range old {
		if !dropped(l, problems, more) && !slices.ContainsFunc(merged, l.same) {
			merged = append(merged, l)
		}
	}
	for _, role := range []Role{RoleApprover, RoleSigner, RoleViewer} {
		if restated(role, merged, more) {
			merged = slices.DeleteFunc(merged, func(l Line) bool { return l.Role == role })
		}
	}
	for _, l := range more {
		if !slices.ContainsFunc(merged, l.same) {
			merged = append(merged, l)
		}
	}
	return merged
}

func (l Line) same(m Line) bool { return l.Role == m.Role && SameAddr(l.Address.Addr, m.Address.Addr) }

// names reports whether a line of that role is among them.
func names(lines []Line, role Role) bool {
	return slices.ContainsFunc(lines, func(l Line) bool { return l.Role == role })
}

// restated reports whether an answer names everybody who had the role.
func restated(role Role, old, more []Line) bool {
	return names(more, role) && !slices.ContainsFunc(old, func(l Line) bool {
		return l.Role == role && !slices.ContainsFunc(more, l.same)
	})
}

// dropped reports whether a problem makes an old line void.
func dropped(l Line, problems []Problem, more []Line) bool {
	for _, p := range problems {
		arg := func(i int) string {
			if i < len(p.Args) {
				return p.Args[i]
			}
			return ""
		}
		var void bool
		switch p.Kind {
		case ProblemRoleClosed:
			void = Role(arg(1)) == l.Role
		case ProblemOwnApproval:
			void = l.Role == RoleApprover && SameAddr(arg(0), l.Address.Addr)
		case ProblemSelfAddressed:
			void = SameAddr(arg(0), l.Address.Addr)
		case ProblemBadLine:
			void = strings.Contains(arg(0), l.Address.Addr)
		case ProblemNotInList:
			void = Role(arg(0)) == l.Role && SameAddr(arg(1), l.Address.Addr) && names(more, l.Role)
		}
		if void {
			return true
		}
	}
	return false
}

// Unmended returns the problems of the draft's lines that an answer without any line
// leaves open: a line that was not understood is gone, but it was meant.
func Unmended(problems []Problem, more []Line) []Problem {
	if len(more) > 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(problems), func(p Problem) bool { return p.Kind != ProblemBadLine })
}
