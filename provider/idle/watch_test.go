package idle

import (
	"strings"
	"testing"
	"time"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.ParseInLocation("2006-01-02 15:04:05", text, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func share(n uint) *uint { return &n }

func TestScheduleOpens(t *testing.T) {
	// 2026-11-23 is a Monday.
	for _, tc := range []struct {
		schedule, when string
		open           bool
		change         string // empty: never
	}{
		{"", "2026-11-23 12:00:00", true, ""},
		{"mon-sun", "2026-11-23 12:00:00", true, ""},
		{"0:00-24:00", "2026-11-23 12:00:00", true, ""},
		{"mon-fri 18:00-08:00", "2026-11-23 17:59:59", false, "2026-11-23 18:00:00"},
		{"mon-fri 18:00-08:00", "2026-11-23 18:00:00", true, "2026-11-24 08:00:00"},
		{"mon-fri 18:00-08:00", "2026-11-28 07:59:00", true, "2026-11-28 08:00:00"}, // Friday's night
		{"mon-fri 18:00-08:00", "2026-11-28 18:30:00", false, "2026-11-30 18:00:00"},
		{"mon-fri 18:00-08:00, sat-sun", "2026-11-28 18:30:00", true, "2026-11-30 00:00:00"},
		{"sat-sun", "2026-11-23 00:00:00", false, "2026-11-28 00:00:00"},
		{"sun 22:00-06:00", "2026-11-23 05:59:00", true, "2026-11-23 06:00:00"}, // into the next week
		{"sun 22:00-06:00", "2026-11-23 06:00:00", false, "2026-11-29 22:00:00"},
		{"fri-mon 09:00-10:00", "2026-11-23 09:30:00", true, "2026-11-23 10:00:00"},
		{"fri-mon 09:00-10:00", "2026-11-25 09:30:00", false, "2026-11-27 09:00:00"},
		{"22:30-06:15", "2026-11-25 23:00:30", true, "2026-11-26 06:15:00"},
	} {
		s, err := ParseSchedule(tc.schedule)
		if err != nil {
			t.Errorf("%s: %v", tc.schedule, err)
			continue
		}
		when := at(t, tc.when)
		if got := s.Open(when); got != tc.open {
			t.Errorf("%q at %s: open %v", tc.schedule, tc.when, got)
		}
		change, ok := s.Change(when)
		if ok != (tc.change != "") || ok && !change.Equal(at(t, tc.change)) {
			t.Errorf("%q at %s: changes at %s, %v; want %s", tc.schedule, tc.when, change, ok, tc.change)
		}
	}
}

// TestScheduleOverClockChange: what the wall clock shows is what counts.
func TestScheduleOverClockChange(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here:", err)
	}
	s, err := ParseSchedule("sun 01:00-04:00")
	if err != nil {
		t.Fatal(err)
	}
	before := time.Date(2026, 3, 29, 1, 30, 0, 0, berlin) // the clock jumps from 2 to 3
	change, ok := s.Change(before)
	if !ok || change.Sub(before) != 90*time.Minute || change.Hour() != 4 {
		t.Errorf("changes at %s", change)
	}
}

func TestScheduleRefuses(t *testing.T) {
	for _, text := range []string{"noday", "mon-fri 25:00-08:00", "mon 8-9", "18:00", "mon 1:0-2:00", "a b c", "mon,,tue", "24:01-02:00", "-", strings.Repeat("mon,", 64) + "mon"} {
		if s, err := ParseSchedule(text); err == nil {
			t.Errorf("%q was read as %v", text, s)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	f.Add("mon-fri 18:00-08:00, sat-sun")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		now := time.Date(2026, 11, 26, 12, 34, 56, 0, time.UTC)
		if change, ok := s.Change(now); ok && (s.Open(change) == s.Open(now) || !change.After(now)) {
			t.Errorf("%q says it changes at %s", text, change)
		}
	})
}

func rules() Rules {
	r := Rules{WhileIdle: true}
	r.EnsureDefaults()
	return r
}

// TestOwnerComesAndGoes: short use is nothing, lasting use takes the machine back
// with notice, and it is lent again once the owner has been away long enough.
func TestOwnerComesAndGoes(t *testing.T) {
	r := rules()
	w := NewWatch(r)
	begin := at(t, "2026-11-23 12:00:00")
	busy, quiet := Reading{CPU: share(80)}, Reading{CPU: share(3)}
	for _, step := range []struct {
		after  time.Duration
		r      Reading
		lend   bool
		stopBy time.Duration // after begin; 0: none
	}{
		{0, quiet, true, 0},
		{2 * time.Second, busy, true, 0},
		{8 * time.Second, busy, true, 0},
		{9 * time.Second, quiet, true, 0}, // a browser was started
		{20 * time.Second, busy, true, 0},
		{30 * time.Second, busy, false, 90 * time.Second},
		{40 * time.Second, quiet, false, 90 * time.Second},
		{50 * time.Second, busy, false, 90 * time.Second}, // the promise does not move
		{5 * time.Minute, quiet, false, 90 * time.Second},
		{5*time.Minute + 50*time.Second, quiet, true, 0},
		{6 * time.Minute, busy, true, 0}, // counts afresh
	} {
		v := w.Look(step.r, begin.Add(step.after))
		want := time.Time{}
		if step.stopBy > 0 {
			want = begin.Add(step.stopBy)
		}
		if v.Lend != step.lend || !v.StopBy.Equal(want) || v.Lend != (v.Why == "") {
			t.Errorf("after %s: %+v", step.after, v)
		}
	}
}

func TestUnknownIsNoUse(t *testing.T) {
	w := NewWatch(rules())
	begin := at(t, "2026-11-23 12:00:00")
	for i := range 100 {
		if v := w.Look(Reading{}, begin.Add(time.Duration(i)*time.Minute)); !v.Lend {
			t.Fatalf("%+v", v)
		}
	}
}

func TestEverySignCounts(t *testing.T) {
	begin := at(t, "2026-11-23 12:00:00")
	for want, r := range map[string]Reading{
		"25% of the processor": {CPU: share(25)}, "20% of the graphics card": {GPU: share(20)},
		"doom fills the screen": {FullScreen: "doom"},
	} {
		w := NewWatch(rules())
		w.Look(r, begin)
		v := w.Look(r, begin.Add(time.Minute))
		if v.Lend || !strings.Contains(v.Why, want) {
			t.Errorf("%s: %+v", want, v)
		}
		never := rules()
		never.WhileIdle = false
		w = NewWatch(never)
		w.Look(r, begin)
		if v := w.Look(r, begin.Add(time.Hour)); !v.Lend {
			t.Errorf("an owner who did not ask: %+v", v)
		}
	}
}

// TestScheduleGivesNotice: the end of a span is announced before it, and nothing
// new is taken from then on.
func TestScheduleGivesNotice(t *testing.T) {
	r := rules()
	var err error
	if r.Schedule, err = ParseSchedule("18:00-08:00"); err != nil {
		t.Fatal(err)
	}
	w := NewWatch(r)
	end := at(t, "2026-11-24 08:00:00")
	for when, want := range map[string]Verdict{
		"2026-11-24 07:58:59": {Lend: true},
		"2026-11-24 07:59:00": {StopBy: end, Why: "its schedule ends Tue 08:00"},
		"2026-11-24 08:00:00": {StopBy: end, Why: "outside its schedule, back Tue 18:00"},
	} {
		if v := w.Look(Reading{}, at(t, when)); v != want {
			t.Errorf("%s: %+v, want %+v", when, v, want)
		}
	}
}

func TestRulesValidate(t *testing.T) {
	for name, change := range map[string]func(*Rules){
		"cpu": func(r *Rules) { r.BusyCPU = 101 }, "gpu": func(r *Rules) { r.BusyGPU = 101 },
		"after": func(r *Rules) { r.After = -1 }, "resume": func(r *Rules) { r.Resume = 25 * time.Hour }, "notice": func(r *Rules) { r.Notice = 2 * time.Hour },
	} {
		r := rules()
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		if change(&r); r.Validate() == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
