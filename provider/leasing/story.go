package leasing

import (
	"fmt"
	"time"

	"github.com/moyai-network/moyai/mechanism/lease"
)

// Chapter tells what kind of thing a Note is about, since each kind is kept within a
// bound of its own: an array of a million tasks must not drown how the lease began.
type Chapter uint8

const (
	// ChapterLease is the lease's own course.
	ChapterLease Chapter = iota + 1
	// ChapterTask is the course of its tasks.
	ChapterTask
	// ChapterSession is who entered it.
	ChapterSession
)

// Note is one thing that happened, for people.
type Note struct {
	Chapter Chapter
	Kind    string // a word programs can compare: "opened", "started", …
	Text    string
}

// Story is what a Step is worth telling of, in order: nothing, mostly.
func Story(before, after State, e Event) []Note {
	var s story
	s.course(before, after)
	s.tasks(before, after, e)
	s.end(before, after)
	switch e.(type) {
	case Restarted:
		s.tell(ChapterLease, "restarted", "the provider came back")
	case Recovered:
		s.tell(ChapterTask, "recovered", "the program was found again")
	}
	return s.notes
}

type story struct{ notes []Note }

func (s *story) tell(c Chapter, kind, format string, args ...any) {
	s.notes = append(s.notes, Note{c, kind, fmt.Sprintf(format, args...)})
}

// course tells how the lease came to run.
func (s *story) course(before, after State) {
	if before.Chain == ChainNone && after.Chain == ChainOpen {
		s.tell(ChapterLease, "opened", "the provider saw it open on the chain")
	}
	if before.Work != after.Work {
		switch after.Work {
		case WorkPreparing:
			s.tell(ChapterLease, "preparing", "the program is fetched and made ready")
		case WorkStarting:
			s.tell(ChapterLease, "prepared", "ready; the start receipt was proposed")
		case WorkRunning:
			s.tell(ChapterLease, "started", "the start is countersigned: the clock runs")
		}
	}
	if after.AwayMS > before.AwayMS {
		s.tell(ChapterLease, "away", "the tenant left and acknowledged up to %s in advance", span(after.AwayMS))
	}
	switch {
	case after.NoticeBy != 0 && before.NoticeBy == 0:
		s.tell(ChapterLease, "notice", "the provider ends it at %s: %s", time.UnixMilli(after.NoticeBy).UTC().Format(time.TimeOnly), after.NoticeText)
	case after.NoticeBy == 0 && before.NoticeBy != 0:
		s.tell(ChapterLease, "notice-lifted", "the provider lets it go on")
	}
}

func (s *story) tasks(before, after State, e Event) {
	if done, ok := e.(TaskFinished); ok && before.Task != nil && *before.Task == done.Index {
		text := fmt.Sprintf("task %d ended: %s", done.Index, done.Outcome.Reason)
		if done.Outcome.ExitCode >= 0 {
			text += fmt.Sprintf(", code %d", done.Outcome.ExitCode)
		}
		if done.Outcome.Text != "" {
			text += ": " + done.Outcome.Text
		}
		s.tell(ChapterTask, "task-ended", "%s", text)
	}
	if after.Task != nil && (before.Task == nil || *before.Task != *after.Task) {
		s.tell(ChapterTask, "task", "task %d begins", *after.Task)
	}
}

// end tells how it came to its end, and what was paid.
func (s *story) end(before, after State) {
	if before.Work != after.Work {
		switch after.Work {
		case WorkStopping:
			s.tell(ChapterLease, "stopping", "%s", because(after))
		case WorkEnded:
			s.tell(ChapterLease, "ended", "after %s: %s", span(after.ElapsedMS), because(after))
		case WorkForgotten:
			if after.Chain != ChainLapsed {
				s.tell(ChapterLease, "deleted", "the results and everything else of it were deleted")
			}
		}
	}
	if before.Chain == after.Chain {
		return
	}
	switch after.Chain {
	case ChainSettling:
		s.tell(ChapterLease, "settling", "one side closed alone: the window runs")
	case ChainClosed:
		text := because(after)
		if p := after.Settlement; p != nil {
			if p.Reason != lease.ReasonNone {
				text = p.Reason.String()
			}
			text += fmt.Sprintf("; %s billed, %s %s to the provider", span(p.BilledMS), p.Provider, p.Denom)
		}
		s.tell(ChapterLease, "closed", "%s", text)
	}
}

func because(s State) string {
	reason := "no reason given"
	if s.Reason != lease.ReasonNone {
		reason = s.Reason.String()
	}
	if s.Text != "" {
		reason += ": " + s.Text
	}
	return reason
}

func span(ms uint64) string { return (time.Duration(ms) * time.Millisecond).String() }
