package generator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"berth/cmd/internal/cli"
)

// host is where the program runs; root is "/" but for tests.
type host struct {
	root   string
	getenv func(string) string
}

// credential is the name of the credential with expressions.
const credential = "import.pull"

// sourceMax bounds what is read of any source, in bytes.
const sourceMax = 1 << 20

// stubURL is the variable in which the boot stub says where it came from.
const stubURL = "sys/firmware/efi/efivars/StubDeviceURL-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

// commandLine returns the words of the kernel command line; in a container those
// of its PID 1.
func (h host) commandLine() ([]string, error) {
	if text := h.getenv("SYSTEMD_PROC_CMDLINE"); text != "" {
		return words(text), nil
	}
	if _, err := os.Lstat(filepath.Join(h.root, "run/systemd/container")); err == nil {
		text, err := readAll(filepath.Join(h.root, "proc/1/cmdline"))
		arguments := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
		return arguments[1:], err
	}
	text, err := readAll(filepath.Join(h.root, "proc/cmdline"))
	return words(string(text)), err
}

// inInitrd says whether the host is still on its initrd.
func (h host) inInitrd() bool {
	if on, ok := cli.ParseBool(h.getenv("SYSTEMD_IN_INITRD")); ok {
		return on
	}
	_, err := os.Lstat(filepath.Join(h.root, "etc/initrd-release"))
	return err == nil
}

// credential returns the text of the credential, empty if there is none. systemd-creds
// decrypts one that is encrypted.
func (h host) credential(ctx context.Context) (string, error) {
	if dir := h.getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		text, err := readAll(filepath.Join(dir, credential))
		if !errors.Is(err, fs.ErrNotExist) {
			return string(text), err
		}
	}
	dir := h.getenv("ENCRYPTED_CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", nil
	}
	path := filepath.Join(dir, credential)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	cmd := exec.CommandContext(ctx, "/usr/bin/systemd-creds", "decrypt", "--name="+credential, path, "-")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("decrypt it: %w", err)
	}
	return string(text), nil
}

// origin is the URL that the boot stub came from, or an error that wraps
// fs.ErrNotExist.
func (h host) origin() (string, error) {
	text, err := readAll(filepath.Join(h.root, stubURL))
	if err != nil {
		return "", err
	}
	const attributes = 4 // bytes in front of the value
	if len(text) < attributes {
		return "", errors.New("the EFI variable is too short")
	}
	text = text[attributes:]
	units := make([]uint16, len(text)/2)
	for i := range units {
		units[i] = uint16(text[2*i]) | uint16(text[2*i+1])<<8
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00"), nil
}

func readAll(path string) (_ []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(io.LimitReader(f, sourceMax+1))
	if len(text) > sourceMax {
		return nil, fmt.Errorf("%s is too long", path)
	}
	return bytes.TrimRight(text, "\n"), err
}
