package busguard

import (
	"fmt"
	"net/url"
	"strings"
)

// parseAddress gives the sockets of a D-Bus address, in net's notation.
func parseAddress(address string) ([]string, error) {
	var targets []string
	for one := range strings.SplitSeq(address, ";") {
		rest, ok := strings.CutPrefix(one, "unix:")
		if !ok {
			continue
		}
		for pair := range strings.SplitSeq(rest, ",") {
			key, value, _ := strings.Cut(pair, "=")
			value, err := url.PathUnescape(value)
			if err != nil || value == "" {
				continue
			}
			switch key {
			case "path":
				targets = append(targets, value)
			case "abstract":
				targets = append(targets, "@"+value)
			}
		}
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("no local socket in the bus address %q", address)
	}
	return targets, nil
}
