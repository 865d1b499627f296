package machineapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"berth/cmd/internal/machineapi"
	"berth/cmd/internal/varlink"
)

// other serves another interface of the host on a socket of its own.
func (h *varlinkHost) other(add func(*machineapi.Service, *varlink.Server) error) *varlink.Client {
	h.t.Helper()
	server := varlink.NewServer(varlink.Info{Vendor: "test"}, varlink.Options{CheckReplies: true})
	if err := add(h.service, server); err != nil {
		h.t.Fatal(err)
	}
	client, err := varlink.Dial(h.t.Context(), h.listen(server))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := client.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return client
}

// outcome is the text of a reply, or the name of the error.
func outcome(t *testing.T, c *varlink.Client, method, in string) string {
	t.Helper()
	var out json.RawMessage
	_, err := c.Call(t.Context(), method, json.RawMessage(in), &out)
	if e := (*varlink.Error)(nil); errors.As(err, &e) {
		return e.Name
	}
	if err != nil {
		t.Errorf("%s %s: %v", method, in, err)
	}
	return string(out)
}

func TestUserDatabase(t *testing.T) {
	h := newVarlinkHost(t, rootOnly)
	c := h.other((*machineapi.Service).UserDatabase)
	if err := h.register(map[string]any{"name": "foo", "class": "container", "leader": namespacedLeader(t, mapped)}); err != nil {
		t.Fatal(err)
	}
	const prefix = "io.systemd.UserDatabase."
	const here = `"service":"io.systemd.Machine"`
	user := fmt.Sprintf(`{"record":{"userName":"vu-foo-7","uid":%d,"gid":65534,"realName":"UID 7 of Container foo",`+
		`"homeDirectory":"/","shell":"/usr/sbin/nologin","locked":true,`+here+`,"disposition":"container"}}`, mapped+7)
	group := fmt.Sprintf(`{"record":{"groupName":"vg-foo-7","gid":%d,"description":"GID 7 of Container foo",`+
		here+`,"disposition":"container"}}`, mapped+7)
	for _, test := range []struct{ method, in, want string }{
		{"GetUserRecord", fmt.Sprintf(`{"uid":%d,`+here+`}`, mapped+7), user},
		{"GetUserRecord", `{"userName":"vu-foo-7",` + here + `}`, user},
		{"GetUserRecord", fmt.Sprintf(`{"uid":%d,"userName":"vu-foo-7",`+here+`}`, mapped+7), user},
		{"GetUserRecord", fmt.Sprintf(`{"uid":%d,"userName":"vu-foo-8",`+here+`}`, mapped+7), prefix + "ConflictingRecordFound"},
		{"GetUserRecord", `{"uid":1000,"userName":"vu-foo-7",` + here + `}`, prefix + "NoRecordFound"},
		{"GetUserRecord", `{"userName":"vg-foo-7",` + here + `}`, prefix + "NoRecordFound"},
		{"GetUserRecord", `{"userName":"root",` + here + `}`, prefix + "NoRecordFound"},
		{"GetUserRecord", `{"userName":"",` + here + `}`, prefix + "NoRecordFound"},
		{"GetUserRecord", `{"uid":0,` + here + `}`, prefix + "NoRecordFound"},
		{"GetUserRecord", `{"uid":65535,` + here + `}`, prefix + "NoRecordFound"},
		{"GetUserRecord", `{"uid":4294967296,` + here + `}`, varlink.ErrorInvalidParameter},
		{"GetUserRecord", `{` + here + `}`, prefix + "EnumerationNotSupported"},
		{"GetUserRecord", `{"uid":4294967295,` + here + `}`, prefix + "EnumerationNotSupported"},
		{"GetUserRecord", `{"uid":1000,"service":"io.systemd.NameServiceSwitch"}`, prefix + "BadService"},
		{"GetUserRecord", `{"uid":1000}`, varlink.ErrorInvalidParameter},
		{"GetUserRecord", `{"uid":1000,"dispositionMask":["regular"],` + here + `}`, varlink.ErrorInvalidParameter},
		{"GetUserRecord", `{"uidMin":0,"service":"other"}`, varlink.ErrorInvalidParameter},
		{"GetUserRecord", `{"gidMin":0,` + here + `}`, varlink.ErrorInvalidParameter},
		{"GetGroupRecord", fmt.Sprintf(`{"gid":%d,`+here+`}`, mapped+7), group},
		{"GetGroupRecord", `{"groupName":"vg-foo-7",` + here + `}`, group},
		{"GetGroupRecord", fmt.Sprintf(`{"gid":%d,"groupName":"vg-foo-8",`+here+`}`, mapped+7), prefix + "ConflictingRecordFound"},
		{"GetGroupRecord", `{"gid":0,` + here + `}`, prefix + "NoRecordFound"},
		{"GetGroupRecord", `{"uuid":"x",` + here + `}`, varlink.ErrorInvalidParameter},
		{"GetMemberships", `{"userName":"vu-foo-7",` + here + `}`, prefix + "NoRecordFound"},
		{"GetMemberships", `{"service":"other"}`, prefix + "BadService"},
	} {
		if got := outcome(t, c, prefix+test.method, test.in); got != test.want {
			t.Errorf("%s %s:\n%s, want\n%s", test.method, test.in, got, test.want)
		}
	}
}
