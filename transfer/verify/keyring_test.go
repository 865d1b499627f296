package verify_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/fixtures/keys"
	"berth/transfer/verify"
)

func TestLoadKeyringReadsEveryForm(t *testing.T) {
	a, b := keys.New(t, "A"), keys.New(t, "B")
	box := filepath.Join(t.TempDir(), "box")
	keys.WriteKeybox(t, box, a, b)
	for name, paths := range map[string][]string{
		"binary":            {write(t, slices.Concat(a.Export(t), b.Export(t)))},
		"armored":           {write(t, slices.Concat([]byte("comment\n"), a.ExportArmored(t), b.ExportArmored(t)))},
		"keybox":            {box},
		"two files":         {write(t, a.Export(t)), write(t, b.ExportArmored(t))},
		"one of them empty": {write(t, nil), box},
		"the same twice":    {box, box, write(t, a.Export(t))},
	} {
		t.Run(name, func(t *testing.T) {
			keyring := load(t, paths...)
			for _, k := range []*keys.Key{a, b} {
				if signer, err := keyring.Check(text, k.Sign(t, text, keys.SignOptions{})); err != nil || signer.Fingerprint != k.Fingerprint {
					t.Errorf("key %s: got %v, %v", k.ID, signer, err)
				}
			}
		})
	}
}

func TestLoadKeyringErrors(t *testing.T) {
	k := keys.New(t, "A")
	box := filepath.Join(t.TempDir(), "box")
	keys.WriteKeybox(t, box, k)
	boxed, err := os.ReadFile(box)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		paths []string
		want  error
	}{
		"no file":     {nil, verify.ErrNoKeyring},
		"empty":       {[]string{write(t, nil)}, verify.ErrNoKeyring},
		"missing":     {[]string{filepath.Join(t.TempDir(), "missing")}, fs.ErrNotExist},
		"text":        {[]string{write(t, []byte("no key at all\n"))}, verify.ErrMalformed},
		"cut":         {[]string{write(t, k.Export(t)[:40])}, verify.ErrMalformed},
		"cut keybox":  {[]string{write(t, boxed[:len(boxed)-10])}, verify.ErrMalformed},
		"cut armor":   {[]string{write(t, k.ExportArmored(t)[:200])}, verify.ErrMalformed},
		"a signature": {[]string{write(t, k.Sign(t, text, keys.SignOptions{Armor: true}))}, verify.ErrMalformed},
	} {
		if _, err := verify.LoadKeyring(test.paths...); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestKeyringIsSafeForConcurrentUse(t *testing.T) {
	k := keys.Make(t, "Maker", keys.Options{Subkey: true})
	keyring, signature := ring(t, k), k.Sign(t, text, keys.SignOptions{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := keyring.Check(text, signature); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestKeyringPaths(t *testing.T) {
	const own, legacy, vendor = "etc/systemd/import-pubring.pgp", "etc/systemd/import-pubring.gpg", "usr/lib/systemd/import-pubring.pgp"
	for _, test := range []struct {
		name        string
		exist, want []string
	}{
		{"all", []string{own, legacy, vendor}, []string{own, vendor}},
		{"legacy", []string{legacy, vendor}, []string{legacy, vendor}},
		{"own alone", []string{own}, []string{own}},
		{"vendor alone", []string{vendor}, []string{vendor}},
		{"none", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for _, path := range test.exist {
				full := filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(full, nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := verify.KeyringPaths(root, func(string) string { return "" })
			if test.want == nil {
				if !errors.Is(err, verify.ErrNoKeyring) || !strings.Contains(err.Error(), own) || !strings.Contains(err.Error(), vendor) {
					t.Errorf("got %v and %v", got, err)
				}
				return
			}
			var want []string
			for _, path := range test.want {
				want = append(want, filepath.Join(root, path))
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("got %v and %v, want %v", got, err, want)
			}
		})
	}
}

func TestKeyringPathsFollowsVariable(t *testing.T) {
	for value, ok := range map[string]bool{"/a/ring.pgp": true, "ring.pgp": false, "/a/../ring": false, "/a//ring": false, "/a/": false} {
		got, err := verify.KeyringPaths(t.TempDir(), func(name string) string {
			if name == "SYSTEMD_OPENPGP_KEYRING" {
				return value
			}
			return ""
		})
		if ok && (err != nil || !slices.Equal(got, []string{value})) || !ok && !errors.Is(err, verify.ErrMalformed) {
			t.Errorf("%q: got %v, %v", value, got, err)
		}
	}
}
