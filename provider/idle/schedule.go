package idle

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	dayMinutes  = 24 * 60
	weekMinutes = 7 * dayMinutes
	maxSpans    = 64
)

// Schedule is a set of spans of the week, in the machine's own time: what the
// wall clock shows, also on the days on which it changes. The zero value is
// always open.
type Schedule struct {
	text  string
	spans []span
}

// span is [from, to) in minutes since Monday 00:00; to may lie in the next week.
type span struct{ from, to int }

var days = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// ParseSchedule reads a list such as "mon-fri 18:00-08:00, sat-sun": days, or
// times, or both. A span whose end is not after its beginning goes on into the
// next day. Empty is always.
func ParseSchedule(text string) (Schedule, error) {
	s := Schedule{text: strings.TrimSpace(text)}
	if s.text == "" {
		return Schedule{}, nil
	}
	parts := strings.Split(s.text, ",")
	if len(parts) > maxSpans {
		return Schedule{}, fmt.Errorf("schedule has %d parts where %d are allowed", len(parts), maxSpans)
	}
	for _, part := range parts {
		spans, err := parsePart(strings.Fields(part))
		if err != nil {
			return Schedule{}, fmt.Errorf("schedule %q: %w; write it like mon-fri 18:00-08:00, sat-sun", strings.TrimSpace(part), err)
		}
		s.spans = append(s.spans, spans...)
	}
	return s, nil
}

func parsePart(words []string) ([]span, error) {
	first, last, from, to := 0, len(days)-1, 0, dayMinutes
	var err error
	switch {
	case len(words) == 1 && strings.Contains(words[0], ":"):
		from, to, err = parseTimes(words[0])
	case len(words) == 1:
		first, last, err = parseDays(words[0])
	case len(words) == 2:
		if first, last, err = parseDays(words[0]); err == nil {
			from, to, err = parseTimes(words[1])
		}
	default:
		err = fmt.Errorf("%d words where days and times are expected", len(words))
	}
	if err != nil {
		return nil, err
	}
	if to <= from {
		to += dayMinutes
	}
	var out []span
	for d := first; ; d = (d + 1) % len(days) {
		out = append(out, span{d*dayMinutes + from, d*dayMinutes + to})
		if d == last {
			return out, nil
		}
	}
}

func parseDays(word string) (first, last int, err error) {
	a, b, ok := strings.Cut(strings.ToLower(word), "-")
	if !ok {
		b = a
	}
	if first, err = parseDay(a); err != nil {
		return 0, 0, err
	}
	last, err = parseDay(b)
	return first, last, err
}

func parseDay(word string) (int, error) {
	for i, d := range days {
		if word == d {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%q is no day", word)
}

func parseTimes(word string) (from, to int, err error) {
	a, b, ok := strings.Cut(word, "-")
	if !ok {
		return 0, 0, fmt.Errorf("%q has no end", word)
	}
	if from, err = parseTime(a); err != nil {
		return 0, 0, err
	}
	to, err = parseTime(b)
	return from, to, err
}

func parseTime(word string) (int, error) {
	h, m, ok := strings.Cut(word, ":")
	hour, err1 := strconv.ParseUint(h, 10, 8)
	minute, err2 := strconv.ParseUint(m, 10, 8)
	if !ok || err1 != nil || err2 != nil || len(m) != 2 || hour > 24 || minute > 59 || hour == 24 && minute > 0 {
		return 0, fmt.Errorf("%q is no time of day", word)
	}
	return int(hour)*60 + int(minute), nil
}

// Empty reports a schedule that is always open.
func (s Schedule) Empty() bool { return len(s.spans) == 0 }

// String is the schedule as it was written.
func (s Schedule) String() string { return s.text }

// Open reports whether the machine is lent at t.
func (s Schedule) Open(t time.Time) bool { return s.Empty() || s.open(minuteOfWeek(t)) }

func (s Schedule) open(minute int) bool {
	for _, sp := range s.spans {
		if minute >= sp.from && minute < sp.to || minute+weekMinutes < sp.to {
			return true
		}
	}
	return false
}

// Change is the next time after t at which Open changes; ok is false if it
// never does.
func (s Schedule) Change(t time.Time) (at time.Time, ok bool) {
	if s.Empty() {
		return time.Time{}, false
	}
	now := s.Open(t)
	// Minute by minute on the wall clock, so that days with 23 or 25 hours come
	// out right. A week is ten thousand steps of a few comparisons.
	at = t.Truncate(time.Minute)
	for range weekMinutes + dayMinutes {
		at = at.Add(time.Minute)
		if s.Open(at) != now {
			return at, true
		}
	}
	return time.Time{}, false
}

func minuteOfWeek(t time.Time) int {
	day := (int(t.Weekday()) + len(days) - 1) % len(days) // Monday is 0
	return day*dayMinutes + t.Hour()*60 + t.Minute()
}
