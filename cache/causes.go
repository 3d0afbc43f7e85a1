package cache

import "errors"

// Why a fill fails, beside the causes of outages: what an upstream answered, and what went wrong here.
const (
	CauseNotFound Cause = "not-found"
	CauseDenied   Cause = "denied"
	CauseCorrupt  Cause = "corrupt"
	CauseDisk     Cause = "disk"
	CauseNoRoom   Cause = "no-room"
	CauseOther    Cause = "other"
)

// Outages are the causes of an UnavailableError.
func Outages() []Cause {
	return []Cause{CauseLimited, CauseTimeout, CauseFailed, CauseOpen, CauseCredential}
}

// FillCauses are all causes for which fills fail.
func FillCauses() []Cause {
	return append(Outages(), CauseNotFound, CauseDenied, CauseCorrupt, CauseDisk, CauseNoRoom, CauseOther)
}

// cause says why the fill came to an end that is not a good one; empty where it did not.
func (f *fill) cause(o Outcome, err error) Cause {
	switch {
	case o == FillComplete || o == FillPaused:
		return ""
	case err == nil, f.blob != nil, errors.Is(err, errDisk): // all came and could not be kept, or what was kept is damaged
		return CauseDisk
	case errors.Is(err, errNoRoom):
		return CauseNoRoom
	case errors.Is(err, ErrCorrupt):
		return CauseCorrupt
	case IsOutage(err):
		return cause(err)
	case errors.Is(err, ErrNotFound):
		return CauseNotFound
	case errors.Is(err, ErrDenied):
		return CauseDenied
	}
	return CauseOther
}
