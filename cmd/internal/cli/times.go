package cli

import (
	"fmt"
	"time"
)

// Years and months are of average length.
const (
	day   = 24 * time.Hour
	week  = 7 * day
	month = 2629800 * time.Second
	year  = 31557600 * time.Second
)

// FormatTime writes a point in time as "Mon 2026-11-23 22:18:19 UTC".
func FormatTime(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("Mon 2006-01-02 15:04:05 MST")
}

// FormatRelative says how long ago t was at the time now, or how long it is until then: "3s ago", "1min 5s left".
func FormatRelative(t, now time.Time) string {
	d, suffix := now.Sub(t), "ago"
	if d < 0 {
		d, suffix = -d, "left"
	}
	if d < time.Microsecond {
		return "now"
	}
	return span(d) + " " + suffix
}

func span(d time.Duration) string {
	switch {
	case d >= year:
		return count(d/year, "year") + " " + count(d%year/month, "month")
	case d >= month:
		return count(d/month, "month") + " " + count(d%month/day, "day")
	case d >= week:
		return count(d/week, "week") + " " + count(d%week/day, "day")
	case d >= 2*day:
		return count(d/day, "day")
	case d >= 25*time.Hour:
		return fmt.Sprintf("1 day %dh", d%day/time.Hour)
	case d >= 6*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dmin", d/time.Hour, d%time.Hour/time.Minute)
	case d >= 5*time.Minute:
		return fmt.Sprintf("%dmin", d/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dmin %ds", d/time.Minute, d%time.Minute/time.Second)
	case d >= time.Second:
		return fmt.Sprintf("%ds", d/time.Second)
	case d >= time.Millisecond:
		return fmt.Sprintf("%dms", d/time.Millisecond)
	}
	return fmt.Sprintf("%dus", d/time.Microsecond)
}

func count(n time.Duration, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
