package cache

import (
	"context"
	"errors"
	"strings"
	"time"
)

const (
	publicFor  = 24 * time.Hour   // how long a repository that anybody may read is believed to stay so
	privateFor = 10 * time.Minute // shorter: its owner may just have opened it
	outageFor  = time.Minute      // how long the last answer holds when it cannot be checked
)

// anonymous asks an upstream without its credentials whether a repository's tag or digest can be read.
type anonymous interface {
	ReadableAnonymously(ctx context.Context, ref string) (bool, error)
}

// Public knows which repositories anybody may read. An upstream to which we have credentials serves anonymous clients only
// those: otherwise our credentials would open private repositories to everybody.
type Public struct {
	records *Records
	now     func() time.Time
	flights *flights
	answers *remembered[refName, bool] // yes by repository, no by what was asked for: anybody can ask for what is not there
}

// publicRecord says that a repository was readable by anybody. That one was not is never recorded: names that nobody may
// read can be made up without end.
type publicRecord struct {
	Checked time.Time `json:"checked"`
}

func (r publicRecord) valid() bool { return !r.Checked.IsZero() }

// NewPublic reads and writes through records, which it does not own. now may be nil.
func NewPublic(records *Records, now func() time.Time) (*Public, error) {
	if now == nil {
		now = time.Now
	}
	answers, err := newRemembered[refName, bool](now)
	if err != nil {
		return nil, err
	}
	return &Public{records: records, now: now, flights: newFlights(), answers: answers}, nil
}

// Close ends requests upstream and waits for them. It comes before the records' Close.
func (p *Public) Close() { p.flights.close() }

// Readable reports whether anybody may read a repository, judged by one reference in it. Many callers make one request.
// While upstream is out, the last answer holds; without one, the outage is the error.
func (p *Public) Readable(ctx context.Context, repo Repo, ask anonymous, ref string) (bool, error) {
	if readable, ok := p.known(repo, ref); ok {
		return readable, nil
	}
	repo = Repo{Registry: strings.Clone(repo.Registry), Name: strings.Clone(repo.Name)}
	ref = strings.Clone(ref)
	return share(ctx, p.flights, flightKey("public", repo, ref), func(ctx context.Context) (bool, error) {
		if readable, ok := p.known(repo, ref); ok {
			return readable, nil
		}
		return p.check(ctx, repo, ask, ref)
	})
}

func (p *Public) known(repo Repo, ref string) (readable, ok bool) {
	if _, ok := p.answers.get(refName{repo, ""}); ok {
		return true, true
	}
	_, ok = p.answers.get(refName{repo, ref})
	return false, ok
}

func (p *Public) check(ctx context.Context, repo Repo, ask anonymous, ref string) (bool, error) {
	rec, missing := readRecord[publicRecord](ctx, p.records, publicKey(repo))
	age := p.now().Sub(rec.Checked)
	if missing == nil && age >= 0 && age < publicFor {
		p.answers.set(refName{repo, ""}, true, publicFor-age)
		return true, nil
	}
	readable, err := ask.ReadableAnonymously(ctx, ref)
	switch {
	case errors.Is(err, ErrDenied):
		readable = false
	case IsOutage(err) && missing == nil:
		p.answers.set(refName{repo, ""}, true, outageFor)
		return true, nil
	case err != nil:
		return false, err
	}
	p.note(ctx, repo, ref, readable, missing == nil)
	return readable, nil
}

func (p *Public) note(ctx context.Context, repo Repo, ref string, readable, recorded bool) {
	switch {
	case readable:
		p.answers.set(refName{repo, ""}, true, publicFor)
		rec := encodeRecord(publicRecord{Checked: p.now()})
		p.records.write(ctx, recordWrite{verb: verbPut, key: publicKey(repo), record: rec, share: true})
	default:
		p.answers.set(refName{repo, ref}, false, privateFor)
		if recorded {
			p.records.write(ctx, recordWrite{verb: verbRemove, key: publicKey(repo)})
		}
	}
}
