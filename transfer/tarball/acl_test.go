package tarball

import (
	"errors"
	"testing"
)

func TestParseACL(t *testing.T) {
	for name, test := range map[string]struct {
		text, want string
		dropped    int
	}{
		"plain":           {"user::rwx,group::r-x,other::--x", "user::rwx,group::r-x,other::--x", 0},
		"GNU lines":       {"user::rw-\nuser:61:rwx\t#effective:rw-\ngroup::r--\nmask::rw-\nother::r--\n", "user::rw-,user:61:rwx,group::r--,mask::rw-,other::r--", 0},
		"star ids":        {"user::rwx,user:lisa:r-x:502,group::r-x,mask::r-x,other::---", "user::rwx,user:502:r-x,group::r-x,mask::r-x,other::---", 0},
		"unsorted":        {"other::---,user:9:r--,mask::r--,user:3:r--,group::---,user::rw-", "user::rw-,user:3:r--,user:9:r--,group::---,mask::r--,other::---", 0},
		"short tags":      {"u::rwx,g:7:rw,m:rwx,o:r", "user::rwx,group::r-x,group:7:rw-,mask::rwx,other::r--", 0},
		"names":           {"user::rwx,user:lisa:rwx,group::r-x,mask::rwx,other::---", "user::rwx,group::r-x,mask::rwx,other::---", 1},
		"invalid id":      {"user:4294967295:rwx", "user::rwx,group::r-x,other::r-x", 1},
		"mask is made":    {"user:5:-w-", "user::rwx,user:5:-w-,group::r-x,mask::rwx,other::r-x", 0},
		"doubles removed": {"user::rwx,user::---,user:5:r,user:5:w,mask::r", "user::rwx,user:5:r--,group::r-x,mask::r--,other::r-x", 0},
	} {
		t.Run(name, func(t *testing.T) {
			value, dropped, err := parseACL(test.text, 0o755)
			if err != nil {
				t.Fatal(err)
			}
			got, err := formatACL(value)
			if err != nil || got != test.want || dropped != test.dropped {
				t.Errorf("got %q, %d dropped, %v; want %q, %d", got, dropped, err, test.want, test.dropped)
			}
		})
	}
	for _, text := range []string{"user", "user::rwz", "nobody::rwx", "user:1:rwx:2:3", "user::rwx,x"} {
		if _, _, err := parseACL(text, 0); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, value := range []string{"", "\x02\x00\x00", "\x03\x00\x00\x00", "\x02\x00\x00\x00\x01", "\x02\x00\x00\x00\x03\x00\x07\x00\xff\xff\xff\xff"} {
		if text, err := formatACL([]byte(value)); err == nil {
			t.Errorf("%q became %q", value, text)
		}
	}
}
