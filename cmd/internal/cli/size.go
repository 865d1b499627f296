package cli

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// UnknownSize is a size that is not known, or a limit that is not set.
const UnknownSize = math.MaxUint64

const units = "KMGTPE"

// FormatBytes writes a size to base 1024 with at most one decimal: "0B", "20M", "1.5G". The decimal is cut, not rounded.
func FormatBytes(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + "B"
	}
	power := (bits.Len64(n) - 1) / 10
	whole := n >> (10 * power)
	tenths := (n >> (10 * (power - 1)) & 1023) * 10 / 1024
	if tenths == 0 {
		return fmt.Sprintf("%d%c", whole, units[power-1])
	}
	return fmt.Sprintf("%d.%d%c", whole, tenths, units[power-1])
}

// ParseBytes reads a size to base 1024 such as "20M", "1.5G" or "4096".
func ParseBytes(text string) (uint64, error) {
	number, factor := strings.TrimSuffix(text, "B"), uint64(1)
	if number != "" {
		if power := strings.IndexByte(units, number[len(number)-1]); power >= 0 {
			number, factor = number[:len(number)-1], 1<<(10*(power+1))
		}
	}
	whole, fraction, decimal := strings.Cut(number, ".")
	n, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || strings.HasPrefix(whole, "+") {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	high, low := bits.Mul64(n, factor)
	if high != 0 {
		return 0, fmt.Errorf("size %q is too large", text)
	}
	if !decimal {
		return low, nil
	}
	f, err := strconv.ParseUint(fraction, 10, 32)
	if err != nil || len(fraction) > 9 {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	part := uint64(float64(f) / math.Pow10(len(fraction)) * float64(factor))
	if low+part < low {
		return 0, fmt.Errorf("size %q is too large", text)
	}
	return low + part, nil
}
