package realmail

import (
	"embed"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
)

//go:embed conf
var conf embed.FS

// settings fills in the templates; the keys are file names in the stack's directory.
func (s *Stack) settings(mailUser account) (map[string]string, error) {
	values := []string{"@DIR@", s.dir, "@UID@", strconv.Itoa(mailUser.uid), "@GID@", strconv.Itoa(mailUser.gid)}
	for name, addr := range map[string]string{
		"@IMAP@": s.IMAP, "@IMAPS@": s.IMAPS, "@SMTP@": s.SMTP, "@SUBMISSION@": s.Submission,
		"@SUBMISSIONS@": s.Submissions, "@LMTP@": s.lmtp, "@AUTH@": s.auth,
	} {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		values = append(values, name, port)
	}
	for _, name := range []string{"command_directory", "daemon_directory"} {
		dir, err := postconf(name)
		if err != nil {
			return nil, err
		}
		values = append(values, "@"+name+"@", dir)
	}
	capability := ""
	if s.opts.IMAPCapability != "" {
		capability = "imap_capability = " + s.opts.IMAPCapability
	}
	var users, boxes strings.Builder
	for _, u := range s.opts.Users {
		fmt.Fprintf(&users, "%s:{PLAIN}%s\n", u.Addr, u.Password)
		fmt.Fprintf(&boxes, " {%s=1}", u.Addr)
	}
	fill := strings.NewReplacer(append(values, "@CAPABILITY@", capability, "@BOXES@", boxes.String())...)
	out := map[string]string{"dov/users": users.String()}
	for file, target := range map[string]string{"dovecot.conf": "dovecot.conf", "main.cf": "pf/etc/main.cf", "master.cf": "pf/etc/master.cf"} {
		text, err := conf.ReadFile("conf/" + file)
		if err != nil {
			return nil, err
		}
		out[target] = fill.Replace(string(text))
	}
	return out, nil
}

// postconf asks Postfix for a built-in default.
func postconf(name string) (string, error) {
	out, err := exec.Command("postconf", "-dh", name).Output()
	if err != nil {
		return "", fmt.Errorf("real mail: postconf %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}
